import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parseSize, requireSize } from "../src/options/size.ts";

describe("parseSize", () => {
  test.each<[string, bigint]>([
    ["0", 0n],
    ["1", 1n],
    ["08", 8n],
    ["  7", 7n],
    ["+7", 7n],
    ["1b", 1n],
    ["1B", 1n],
    ["1k", 1024n],
    ["1K", 1024n],
    ["3M", 3n * 2n ** 20n],
    ["1e", 2n ** 60n],
    ["15E", 15n * 2n ** 60n],
    ["1.5k", 1536n],
    ["1.k", 1024n],
    [".5k", 512n],
    ["1.5E", 3n * 2n ** 59n],
    ["1.0", 1n],
    ["0.0005k", 1n],
    ["0.0001k", 0n],
    ["0x10", 16n],
    ["0XfF", 255n],
    ["0x1b", 27n],
    ["18446744073709551615", 2n ** 64n - 1n],
  ])("reads %j", (text, bytes) => {
    expect(parseSize(text)).toBe(bytes);
  });

  test.each([
    "",
    " ",
    "k",
    ".",
    "1.5",
    "1.5b",
    "1Z",
    "1kk",
    "1k ",
    "0x",
    "0x10k",
    "0x1.8",
    "1e3",
    "inf",
    "abc",
    "--1",
  ])("refuses %j", (text) => {
    expect(parseSize(text)).toBe("invalid");
  });

  test.each(["-1", "-0", "-1k", "16E", "18446744073709551616", "99999999999999999999999"])(
    "finds %j out of range",
    (text) => {
      expect(parseSize(text)).toBe("out-of-range");
    },
  );

  test("is exact for whole numbers with any suffix", () => {
    fc.assert(
      fc.property(fc.bigInt(0n, 2n ** 20n), fc.integer({ min: 0, max: 4 }), (count, power) => {
        const suffix = "bkMGT"[power]!;
        expect(parseSize(`${count}${suffix}`)).toBe(count << BigInt(10 * power));
      }),
    );
  });

  test("is within half a byte for fractions", () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 999_999 }), (millionths) => {
        const bytes = parseSize(`0.${String(millionths).padStart(6, "0")}M`);
        expect(Math.abs(Number(bytes) - (millionths / 1e6) * 2 ** 20)).toBeLessThanOrEqual(0.5);
      }),
    );
  });
});

describe("requireSize", () => {
  test("never rounds in silence: what a number cannot hold is refused", () => {
    expect(requireSize("image size", "8191T")).toBe(8191 * 2 ** 40);
    expect(() => requireSize("image size", "1E")).toThrow(/not supported/);
    expect(() => requireSize("image size", "8E")).toThrow(/Must be between 0 and 9223372036854775807/);
    expect(() => requireSize("image size", "-1")).toThrow(/Must be between/);
    expect(() => requireSize("image size", "1x")).toThrow(/^Invalid image size specified: '1x'/);
  });
});
