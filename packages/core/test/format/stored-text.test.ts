import fc from "fast-check";
import { expect, it } from "vitest";
import { isQcow2Error } from "../../src/errors.ts";
import { decodeStoredText, decodeText, encodeText } from "../../src/format/stored-text.ts";

const bytes = (text: string): Uint8Array => Uint8Array.from(text, (character) => character.charCodeAt(0));

it("any bytes survive being text", () => {
  const pieces = fc.oneof(
    fc.uint8Array({ maxLength: 6 }),
    fc.string({ unit: "binary", maxLength: 4 }).map((text) => new TextEncoder().encode(text)),
  );
  fc.assert(
    fc.property(fc.array(pieces, { maxLength: 5 }), (parts) => {
      const all = Uint8Array.from(parts.flatMap((part) => [...part]));
      expect(encodeText(decodeText(all))).toEqual(all);
    }),
  );
});

it("text that has an encoding survives being bytes, and is what everybody calls it", () => {
  fc.assert(
    fc.property(fc.string({ unit: "binary" }), (text) => {
      expect(encodeText(text)).toEqual(new TextEncoder().encode(text));
      expect(decodeText(encodeText(text))).toBe(text);
    }),
  );
});

it.each([
  ["a\xffb", "a\udcffb"],
  ["\xef\xbb\xbfa", "\ufeffa"],
  ["\xc3\xa9\xc3", "\u00e9\udcc3"],
  ["\xe2\x82", "\udce2\udc82"],
  ["\xed\xa0\x80", "\udced\udca0\udc80"],
  ["\xf0\x9f\x98\x80\xf0\x9f\x98", "\u{1f600}\udcf0\udc9f\udc98"],
  ["\xc0\x80\xf5\x80\x80\x80", "\udcc0\udc80\udcf5\udc80\udc80\udc80"],
  ["", ""],
])("%j is %j", (stored, text) => {
  expect(decodeText(bytes(stored))).toBe(text);
  expect(encodeText(text)).toEqual(bytes(stored));
});

it("half a character that is no byte is refused, not replaced", () => {
  for (const text of ["a\ud800", "\udc00", "\udc7f", "\udd00", "x\ud83dx"]) {
    expect(() => encodeText(text), JSON.stringify(text)).toThrowError(/cannot be written as bytes/);
    try {
      encodeText(text);
    } catch (error) {
      expect(isQcow2Error(error, "invalid-option")).toBe(true);
    }
  }
});

it("stored text ends at the first NUL", () => {
  expect(decodeStoredText(bytes("ab\xff\0cd"))).toBe("ab\udcff");
});
