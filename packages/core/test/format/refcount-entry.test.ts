import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { isQcow2Error } from "../../src/errors.ts";
import {
  refcountCodec,
  refcountTableEntryHasReservedBits,
  refcountTableEntryIsAligned,
  refcountTableEntryOffset,
  setRefcountTableEntry,
} from "../../src/format/refcount-entry.ts";
import { viewOf } from "../../src/format/uint64.ts";
import { hexOf, viewOfHex } from "./hex.ts";

describe("refcount table entries", () => {
  it("hold an offset of 55 bits above nine reserved ones", () => {
    const table = viewOfHex("0000000000000000 0000000100010000 0000000000010201 0100000000000000");
    expect([0, 1, 2, 3].map((index) => refcountTableEntryOffset(table, index))).toEqual([
      0,
      2 ** 32 + 65536,
      0x10200,
      2 ** 56,
    ]);
    expect([0, 1, 2, 3].map((index) => refcountTableEntryHasReservedBits(table, index))).toEqual([
      false,
      false,
      true,
      false,
    ]);
  });

  it("know whether they are aligned even where the offset is no exact number", () => {
    const table = viewOfHex("ff00000000000200 ff00000000000000 0000000000010200");
    expect([0, 1, 2].map((index) => refcountTableEntryIsAligned(table, index, 512))).toEqual([
      true,
      true,
      true,
    ]);
    expect([0, 1, 2].map((index) => refcountTableEntryIsAligned(table, index, 65536))).toEqual([
      false,
      true,
      false,
    ]);
  });

  it("read back as they were set", () => {
    const view = new DataView(new ArrayBuffer(24));
    setRefcountTableEntry(view, 1, 2 ** 50 + 65536);
    expect(refcountTableEntryOffset(view, 1)).toBe(2 ** 50 + 65536);
    expect([view.getBigUint64(0), view.getBigUint64(16)]).toEqual([0n, 0n]);
  });
});

describe("refcount blocks", () => {
  it.each([
    [0, "05", [1, 0, 1, 0, 0, 0, 0, 0]],
    [1, "e4", [0, 1, 2, 3]],
    [2, "fa 01", [10, 15, 1, 0]],
    [3, "00 ff 07", [0, 255, 7]],
    [4, "0001 ffff", [1, 65535]],
    [5, "00000002 ffffffff", [2, 2 ** 32 - 1]],
    [6, "0000000000000003 001fffffffffffff", [3, Number.MAX_SAFE_INTEGER]],
  ])("of 2^%i bits: %s", (order, hex, expected) => {
    const codec = refcountCodec(order);
    expect(expected.map((_, index) => codec.get(viewOfHex(hex), index))).toEqual(expected);
    const written = new Uint8Array(hex.replaceAll(" ", "").length / 2);
    expected.forEach((value, index) => {
      codec.set(viewOf(written), index, value);
    });
    expect(hexOf(written)).toBe(hex.replaceAll(" ", ""));
  });

  it("of 64 bits never read as something smaller than they are", () => {
    expect(refcountCodec(6).get(viewOfHex("ffffffffffffffff"), 0)).toBe(Number.MAX_SAFE_INTEGER);
  });

  it("behave like arrays of their width", () => {
    const arbitrary = fc.integer({ min: 0, max: 6 }).chain((order) =>
      fc.record({
        order: fc.constant(order),
        writes: fc.array(
          fc.record({
            index: fc.nat(15),
            value: fc
              .oneof(fc.maxSafeNat(), fc.constant(Number.MAX_SAFE_INTEGER))
              .map((value) => value % 2 ** Math.min(53, 2 ** order)),
          }),
        ),
      }),
    );
    fc.assert(
      fc.property(arbitrary, ({ order, writes }) => {
        const codec = refcountCodec(order);
        const block = new DataView(new ArrayBuffer(2 ** order * 2));
        const model = new Array<number>(16).fill(0);
        for (const { index, value } of writes) {
          codec.set(block, index, value);
          model[index] = value;
        }
        expect(model.map((_, index) => codec.get(block, index))).toEqual(model);
        expect(codec.maximum).toBe(2 ** Math.min(53, 2 ** order) - 1);
      }),
    );
  });

  it("have at most 64 bits", () => {
    let thrown: unknown;
    try {
      refcountCodec(7);
    } catch (error) {
      thrown = error;
    }
    expect(isQcow2Error(thrown, "invalid-image")).toBe(true);
  });
});
