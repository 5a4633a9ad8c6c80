import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  decodeSnapshotEntry,
  decodeSnapshotTable,
  encodeSnapshotTable,
  type SnapshotEntry,
  snapshotEntryBytes,
} from "../../src/format/snapshot-table.ts";
import { bytesOf, hexOf } from "./hex.ts";

const text = (value: string): Uint8Array => new TextEncoder().encode(value);

/** Two snapshots: one with all fields and four bytes more, one as old images have them. */
const TWO_SNAPSHOTS = `
  0000000000060000 00000001 0001 0005 5f000000 00000007 0000000000000100 00001000 0000001c
    0000000100000000 0000000040000000 0000000000000009 deadbeef
    31 6669727374 000000000000
  0000000000070000 00000002 0002 0001 5f000001 00000008 0000000000000200 00002000 00000000
    3132 78`;

const FIRST: SnapshotEntry = {
  l1TableOffset: 0x60000n,
  l1Size: 1,
  idBytes: text("1"),
  nameBytes: text("first"),
  dateSeconds: 0x5f000000,
  dateNanoseconds: 7,
  vmClockNanoseconds: 256n,
  vmStateSize: 2n ** 32n,
  diskSize: 2n ** 30n,
  icount: 9n,
  unknownExtraData: bytesOf("deadbeef"),
};

const SECOND: SnapshotEntry = {
  l1TableOffset: 0x70000n,
  l1Size: 2,
  idBytes: text("12"),
  nameBytes: text("x"),
  dateSeconds: 0x5f000001,
  dateNanoseconds: 8,
  vmClockNanoseconds: 512n,
  vmStateSize: 0x2000n,
  diskSize: undefined,
  icount: undefined,
  unknownExtraData: new Uint8Array(0),
};

describe("snapshot table", () => {
  const bytes = bytesOf(TWO_SNAPSHOTS);

  it("has entries of variable length, aligned to 8 bytes", () => {
    expect(snapshotEntryBytes(bytes, 0)).toBe(40 + 28 + 1 + 5);
    expect(snapshotEntryBytes(bytes, 80)).toBe(40 + 2 + 1);
    expect(decodeSnapshotTable(bytes, 2)).toEqual([FIRST, SECOND]);
    expect(decodeSnapshotEntry(bytes, 80)).toEqual(SECOND);
  });

  it("prefers the 64-bit size of the VM state, and has optional fields by the length of the extra data", () => {
    const withExtra = (length: number): SnapshotEntry => {
      const entry = new Uint8Array(40 + length).fill(1);
      entry.set([0, 0, 0, 0], 12);
      entry.set([0, 0, 0, length], 36);
      return decodeSnapshotTable(entry, 1)[0]!;
    };
    const filled = 0x0101010101010101n;
    expect(withExtra(7)).toMatchObject({ vmStateSize: 0x01010101n, diskSize: undefined, icount: undefined });
    expect(withExtra(8)).toMatchObject({ vmStateSize: filled, diskSize: undefined, icount: undefined });
    expect(withExtra(16)).toMatchObject({ vmStateSize: filled, diskSize: filled, icount: undefined });
    expect(withExtra(24)).toMatchObject({ vmStateSize: filled, diskSize: filled, icount: filled });
  });

  it("records a missing instruction count as all ones", () => {
    const encoded = encodeSnapshotTable([{ ...FIRST, icount: undefined }]);
    expect(hexOf(encoded.subarray(56, 64))).toBe("ffffffffffffffff");
    expect(decodeSnapshotTable(encoded, 1)[0]?.icount).toBeUndefined();
  });

  it("never cuts a VM state short for readers of the 32-bit field", () => {
    const encoded = encodeSnapshotTable([FIRST]);
    expect(hexOf(encoded.subarray(32, 36))).toBe("00000000");
    expect(hexOf(encodeSnapshotTable([SECOND]).subarray(32, 36))).toBe("00002000");
  });

  it("is written as it was read, up to the 32-bit size of a large VM state", () => {
    const expected = bytesOf(TWO_SNAPSHOTS).subarray(0, 74);
    expected.fill(0, 32, 36);
    expect(hexOf(encodeSnapshotTable([FIRST]))).toBe(hexOf(expected));
  });

  it("reads back whatever it holds, unknown data and names that are no text included", () => {
    const entry = fc.record({
      l1TableOffset: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
      l1Size: fc.nat(0xffffffff),
      idBytes: fc.uint8Array({ maxLength: 20 }),
      nameBytes: fc.uint8Array({ maxLength: 300 }),
      dateSeconds: fc.nat(0xffffffff),
      dateNanoseconds: fc.nat(0xffffffff),
      vmClockNanoseconds: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
      vmStateSize: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
      diskSize: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
      icount: fc.option(fc.bigInt({ min: 0n, max: 2n ** 64n - 2n }), { nil: undefined }),
      unknownExtraData: fc.uint8Array({ maxLength: 1000 }),
    });
    const old = entry.map((value) => ({
      ...value,
      diskSize: undefined,
      icount: undefined,
      unknownExtraData: new Uint8Array(0),
    }));
    fc.assert(
      fc.property(fc.array(fc.oneof(entry, old), { maxLength: 5 }), (entries) => {
        expect(decodeSnapshotTable(encodeSnapshotTable(entries), entries.length)).toEqual(entries);
      }),
    );
  });

  it("that ends too early is refused, wherever it is cut", () => {
    for (let length = 0; length < bytes.length; length++) {
      expect(() => decodeSnapshotTable(bytes.subarray(0, length), 2)).toThrow(
        expect.objectContaining({ code: "truncated" }),
      );
    }
  });

  it("refuses extra data above 1024 bytes before it looks for it", () => {
    const huge = bytesOf(TWO_SNAPSHOTS);
    huge.set([0xff, 0xff, 0xff, 0xff], 36);
    expect(() => decodeSnapshotTable(huge, 1)).toThrow(expect.objectContaining({ code: "limit-exceeded" }));
    huge.set([0, 0, 4, 0], 36);
    expect(() => decodeSnapshotTable(huge, 1)).toThrow(expect.objectContaining({ code: "truncated" }));
  });
});
