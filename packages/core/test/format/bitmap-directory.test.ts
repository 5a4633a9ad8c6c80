import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  assertBitmapEntry,
  type BitmapDirectoryEntry,
  decodeBitmapDirectory,
  encodeBitmapDirectory,
} from "../../src/format/bitmap-directory.ts";
import { bytesOf, hexOf } from "./hex.ts";

const text = (value: string): Uint8Array => new TextEncoder().encode(value);

const TWO_BITMAPS = `
  0000000000090000 00000001 00000002 01 10 0005 00000000  6461696c79 000000
  00000000000a0000 00000004 00000001 01 09 0001 00000002  beef 77 0000000000`;

const DAILY: BitmapDirectoryEntry = {
  tableOffset: 0x90000n,
  tableSize: 1,
  flags: 2,
  type: 1,
  granularityBits: 16,
  nameBytes: text("daily"),
  extraData: new Uint8Array(0),
};

describe("bitmap directory", () => {
  const bytes = bytesOf(TWO_BITMAPS);

  it("has entries of variable length, padded to 8 bytes", () => {
    const entries = decodeBitmapDirectory(bytes, 2);
    expect(entries).toEqual([
      DAILY,
      {
        tableOffset: 0xa0000n,
        tableSize: 4,
        flags: 1,
        type: 1,
        granularityBits: 9,
        nameBytes: text("w"),
        extraData: bytesOf("beef"),
      },
    ]);
    expect(hexOf(encodeBitmapDirectory(entries))).toBe(hexOf(bytes));
  });

  it("must hold exactly as many bitmaps as the header extension says", () => {
    for (const count of [0, 1, 3]) {
      expect(() => decodeBitmapDirectory(bytes, count)).toThrow(
        expect.objectContaining({ code: "invalid-image" }),
      );
    }
  });

  it("that ends in the middle of an entry is refused, wherever it is cut", () => {
    for (let length = 0; length < bytes.length; length++) {
      expect(() => decodeBitmapDirectory(bytes.subarray(0, length), 2)).toThrow(
        expect.objectContaining({ code: "invalid-image" }),
      );
    }
  });

  it("reads back whatever it holds", () => {
    const entry = fc.record({
      tableOffset: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
      tableSize: fc.nat(0xffffffff),
      flags: fc.nat(0xffffffff),
      type: fc.nat(255),
      granularityBits: fc.nat(255),
      nameBytes: fc.uint8Array({ maxLength: 100 }),
      extraData: fc.uint8Array({ maxLength: 100 }),
    });
    fc.assert(
      fc.property(fc.array(entry, { maxLength: 5 }), (entries) => {
        expect(decodeBitmapDirectory(encodeBitmapDirectory(entries), entries.length)).toEqual(entries);
      }),
    );
  });
});

describe("a bitmap", () => {
  const disk = { clusterSize: 65536, virtualSize: 2 ** 30 };

  it("that keeps all rules is accepted", () => {
    expect(() => assertBitmapEntry(DAILY, disk)).not.toThrow();
  });

  it.each<[string, Partial<BitmapDirectoryEntry>]>([
    ["no table", { tableSize: 0 }],
    ["a table beyond the limit", { tableSize: 0x8000001 }],
    ["more than 512 MiB of data", { tableSize: 8193 }],
    ["a table at offset 0", { tableOffset: 0n }],
    ["a table that is not aligned", { tableOffset: 0x90200n }],
    ["a granularity below 512 bytes", { granularityBits: 8 }],
    ["a granularity above 2 GiB", { granularityBits: 32 }],
    ["reserved flags", { flags: 4 }],
    ["an unknown type", { type: 2 }],
    ["a name above 1023 bytes", { nameBytes: new Uint8Array(1024).fill(97) }],
    ["extra data", { extraData: new Uint8Array(1) }],
    // 64 KiB of bits at 512 bytes each cover 256 MiB only.
    ["too little data for the disk", { granularityBits: 9 }],
    ["a table longer than the disk needs", { tableSize: 2 }],
  ])("with %s is refused", (_, change) => {
    expect(() => assertBitmapEntry({ ...DAILY, ...change }, disk)).toThrow(
      expect.objectContaining({ code: "invalid-image" }),
    );
  });

  it("that was in use may have any size: the disk may have been resized meanwhile", () => {
    expect(() => assertBitmapEntry({ ...DAILY, granularityBits: 9, flags: 1 }, disk)).not.toThrow();
  });
});
