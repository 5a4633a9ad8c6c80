import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { isQcow2Error } from "../../src/errors.ts";
import {
  highHalf,
  joinHostOffset,
  lowHalf,
  readUint64,
  viewOf,
  writeUint64,
} from "../../src/format/uint64.ts";
import { bytesOf, hexOf, viewOfHex } from "./hex.ts";

const SAFE: fc.Arbitrary<number> = fc.maxSafeNat();

describe("64-bit integers from two halves", () => {
  it("are big-endian", () => {
    expect(readUint64(viewOfHex("0000 0001 0000 0002"), 0, "field")).toBe(2 ** 32 + 2);
    const bytes = new Uint8Array(8);
    writeUint64(viewOf(bytes), 0, 2 ** 40 + 0xfffffffe);
    expect(hexOf(bytes)).toBe("00000100fffffffe");
  });

  it("reach up to 2^53 - 1 exactly and are refused beyond it", () => {
    expect(readUint64(viewOfHex("001fffff ffffffff"), 0, "field")).toBe(Number.MAX_SAFE_INTEGER);
    for (const beyond of ["00200000 00000000", "ffffffff ffffffff"]) {
      const error = catchError(() => readUint64(viewOfHex(beyond), 0, "L1 table offset"));
      expect(isQcow2Error(error, "unsafe-offset") && error.data).toEqual({
        structure: "L1 table offset",
        found: viewOf(bytesOf(beyond)).getBigUint64(0),
      });
    }
  });

  it("agree with bigint for every safe integer", () => {
    fc.assert(
      fc.property(SAFE, (value) => {
        const view = new DataView(new ArrayBuffer(16));
        writeUint64(view, 3, value);
        expect(view.getBigUint64(3)).toBe(BigInt(value));
        expect(readUint64(view, 3, "field")).toBe(value);
        expect(highHalf(value) * 2 ** 32 + lowHalf(value)).toBe(value);
      }),
    );
  });

  it("give host offsets of 56 bits: the high byte is not part of them", () => {
    expect(joinHostOffset(0xff000001, 0x200)).toBe(2 ** 32 + 0x200);
    expect(joinHostOffset(0x00ffffff, 0x80000000 | 0)).toBe(0x00ffffff * 2 ** 32 + 2 ** 31);
  });
});

describe("viewOf", () => {
  it("covers the bytes, not the whole buffer below them", () => {
    const view = viewOf(bytesOf("aa bb cc dd").subarray(1, 3));
    expect(view.byteLength).toBe(2);
    expect(view.getUint16(0)).toBe(0xbbcc);
  });
});

function catchError(work: () => unknown): unknown {
  try {
    work();
  } catch (error) {
    return error;
  }
  return undefined;
}
