import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { isQcow2Error } from "../../src/errors.ts";
import { KNOWN_FEATURES } from "../../src/format/feature-bits.ts";
import {
  decodeBitmapsExtension,
  decodeFeatureNames,
  decodeHeaderExtensions,
  EXTENSION_BACKING_FORMAT,
  encodeBitmapsExtension,
  encodeFeatureNames,
  encodeHeaderExtensions,
} from "../../src/format/header-extensions.ts";
import { bytesOf, hexOf } from "./hex.ts";

const TWO_EXTENSIONS = `
  e2792aca 00000005 7163 6f77 32 000000
  12345678 00000008 0102030405060708
  00000000 00000000`;

describe("header extensions", () => {
  it("are padded to 8 bytes and end with a marker", () => {
    const bytes = bytesOf(TWO_EXTENSIONS);
    const extensions = decodeHeaderExtensions(bytes, 0, bytes.length);
    expect(extensions).toEqual([
      { type: EXTENSION_BACKING_FORMAT, data: new TextEncoder().encode("qcow2") },
      { type: 0x12345678, data: bytesOf("0102030405060708") },
    ]);
    expect(hexOf(encodeHeaderExtensions(extensions))).toBe(hexOf(bytes));
  });

  it("end where the backing file's name begins, marker or not", () => {
    const bytes = bytesOf(TWO_EXTENSIONS);
    expect(decodeHeaderExtensions(bytes, 0, 16)).toHaveLength(1);
    expect(decodeHeaderExtensions(bytes, 16, 32)).toHaveLength(1);
  });

  it("after the marker are not looked at", () => {
    const bytes = bytesOf(`00000000 00000000 ffffffff ffffffff`);
    expect(decodeHeaderExtensions(bytes, 0, bytes.length)).toEqual([]);
  });

  it("that do not fit are refused, however long they claim to be", () => {
    for (const length of ["00000009", "ffffffff"]) {
      const bytes = bytesOf(`12345678 ${length} 0102030405060708`);
      expect(() => decodeHeaderExtensions(bytes, 0, bytes.length)).toThrow(
        expect.objectContaining({ code: "invalid-image" }),
      );
    }
  });

  it("end with a marker whose length fits, too", () => {
    const fits = bytesOf("00000000 00000008 0102030405060708");
    expect(decodeHeaderExtensions(fits, 0, fits.length)).toEqual([]);
    // The file may end before the cluster does.
    expect(decodeHeaderExtensions(fits, 0, 65536)).toEqual([]);
    const tooLong = bytesOf("00000000 00000009 0102030405060708");
    expect(() => decodeHeaderExtensions(tooLong, 0, tooLong.length)).toThrow(
      expect.objectContaining({ code: "invalid-image" }),
    );
  });

  it("of unknown types are kept byte for byte", () => {
    const extension = fc.record({
      type: fc.integer({ min: 1, max: 0xffffffff }),
      data: fc.uint8Array({ maxLength: 40 }),
    });
    fc.assert(
      fc.property(fc.array(extension, { maxLength: 6 }), fc.nat(20), (extensions, start) => {
        const encoded = encodeHeaderExtensions(extensions);
        const bytes = new Uint8Array(start + encoded.length + 5).fill(0xff);
        bytes.set(encoded, start);
        expect(decodeHeaderExtensions(bytes, start, bytes.length)).toEqual(extensions);
      }),
    );
  });
});

describe("feature name table", () => {
  it("has entries of 48 bytes", () => {
    const data = encodeFeatureNames([{ type: 1, bit: 0, name: "lazy refcounts" }]);
    expect(hexOf(data)).toBe(`0100${hexOf(new TextEncoder().encode("lazy refcounts"))}${"00".repeat(32)}`);
  });

  it("reads back, a name of 46 bytes without terminator included", () => {
    const features = [...KNOWN_FEATURES, { type: 2, bit: 63, name: "x".repeat(46) }];
    expect(decodeFeatureNames(encodeFeatureNames(features))).toEqual(features);
  });

  it("may end in the middle of an entry", () => {
    const [first, second, third] = KNOWN_FEATURES;
    expect(decodeFeatureNames(encodeFeatureNames(KNOWN_FEATURES).subarray(0, 101))).toEqual([
      first,
      second,
      { ...third, name: third?.name.slice(0, 3) },
    ]);
    expect(decodeFeatureNames(encodeFeatureNames(KNOWN_FEATURES).subarray(0, 98))).toEqual([first, second]);
  });
});

describe("bitmaps extension", () => {
  it("has a count, four reserved bytes, a size and an offset", () => {
    const data = bytesOf("00000002 00000000 0000000000000040 0000000000050000");
    const extension = decodeBitmapsExtension(data);
    expect(extension).toEqual({ bitmapCount: 2, directorySize: 64n, directoryOffset: 0x50000n });
    expect(encodeBitmapsExtension(extension)).toEqual(data);
  });

  it("of another length is refused", () => {
    let thrown: unknown;
    try {
      decodeBitmapsExtension(new Uint8Array(25));
    } catch (error) {
      thrown = error;
    }
    expect(isQcow2Error(thrown, "invalid-image") && thrown.data.found).toBe(25);
  });
});

describe("room", () => {
  it.each([1, 4, 7])("of %s bytes before the end is too little for an extension, as in QEMU", (left) => {
    const bytes = new Uint8Array(512);
    expect(() => decodeHeaderExtensions(bytes, 512 - left, 512)).toThrow("Header extension too large");
  });

  it("of none is the end, and so is what a short file does not have", () => {
    expect(decodeHeaderExtensions(new Uint8Array(512), 512, 512)).toEqual([]);
    expect(decodeHeaderExtensions(new Uint8Array(107), 104, 512)).toEqual([]);
  });
});
