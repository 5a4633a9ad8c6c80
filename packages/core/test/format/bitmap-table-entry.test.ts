import { describe, expect, it } from "vitest";
import { bitmapTableEntry } from "../../src/format/bitmap-table-entry.ts";
import { viewOfHex } from "./hex.ts";

const entryOf = (hex: string): ReturnType<typeof bitmapTableEntry> =>
  bitmapTableEntry(viewOfHex(hex), 0, 65536);

describe("bitmap table entries", () => {
  it("are a cluster of bits, all zeroes or all ones", () => {
    expect(entryOf("00ffffffffff0000")).toEqual({ offset: 0xffffffffff0000, allOnes: false, isValid: true });
    expect(entryOf("0000000000000000")).toEqual({ offset: 0, allOnes: false, isValid: true });
    expect(entryOf("0000000000000001")).toEqual({ offset: 0, allOnes: true, isValid: true });
  });

  it.each([
    "0000000000010001",
    "0000000000010200",
    "0000000000000002",
    "0000000000000100",
    "0100000000000000",
    "8000000000010000",
  ])("are invalid: %s", (hex) => {
    expect(entryOf(hex).isValid).toBe(false);
  });
});
