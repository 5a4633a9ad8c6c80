import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  l1EntryCopied,
  l1EntryHasReservedBits,
  l1EntryOffset,
  setL1Entry,
} from "../../src/format/l1-entry.ts";
import { viewOfHex } from "./hex.ts";

describe("L1 entries", () => {
  const table = viewOfHex(`
    0000 0000 0000 0000
    8000 0000 0003 0000
    0012 3456 789a be00
    ffff ffff ffff ffff
  `);

  it("hold an offset of 47 bits and the COPIED flag", () => {
    expect([0, 1, 2, 3].map((index) => l1EntryOffset(table, index))).toEqual([
      0, 0x30000, 0x123456789abe00, 0xfffffffffffe00,
    ]);
    expect([0, 1, 2, 3].map((index) => l1EntryCopied(table, index))).toEqual([false, true, false, true]);
  });

  it("have reserved bits 0-8 and 56-62, which are no part of the offset", () => {
    for (let bit = 0; bit < 64; bit++) {
      const view = new DataView(new ArrayBuffer(8));
      view.setBigUint64(0, 1n << BigInt(bit));
      expect(l1EntryHasReservedBits(view, 0)).toBe(bit <= 8 || (bit >= 56 && bit <= 62));
      expect(l1EntryCopied(view, 0)).toBe(bit === 63);
      expect(l1EntryOffset(view, 0)).toBe(bit >= 9 && bit <= 55 ? 2 ** bit : 0);
    }
  });

  it("read back as they were set, and leave their neighbours alone", () => {
    fc.assert(
      fc.property(fc.nat(2 ** 31 - 1), fc.nat(2 ** 13), fc.boolean(), (low, high, copied) => {
        const offset = (high * 2 ** 31 + low) * 512;
        const view = new DataView(new ArrayBuffer(24));
        setL1Entry(view, 1, { offset, copied });
        expect(l1EntryOffset(view, 1)).toBe(offset);
        expect(l1EntryCopied(view, 1)).toBe(copied);
        expect(l1EntryHasReservedBits(view, 1)).toBe(false);
        expect([view.getBigUint64(0), view.getBigUint64(16)]).toEqual([0n, 0n]);
      }),
    );
  });
});
