import { describe, expect, it } from "vitest";
import { xxHash64Low32 } from "../src/index.ts";
import { compressWithTool, hasZstdTool, noise } from "./frames.ts";

describe("xxHash64Low32", () => {
  it("hashes nothing, little, and more than a stripe", () => {
    expect(xxHash64Low32(new Uint8Array(0))).toBe(0x51d8e999);
    expect(xxHash64Low32(Buffer.from("abc"))).toBe(0xad770999);
    const long = Buffer.from("The quick brown fox jumps over the lazy dog, twice.");
    expect(xxHash64Low32(long)).toBe(0x8c4cb965);
  });

  it.skipIf(!hasZstdTool)("agrees with the zstd tool for every length of tail", () => {
    for (const length of [0, 1, 3, 4, 5, 7, 8, 12, 15, 31, 32, 33, 39, 44, 63, 64, 69]) {
      const content = noise(length, length);
      const frame = compressWithTool(content, ["--check"]);
      const stored = frame.readUInt32LE(frame.length - 4);
      expect(xxHash64Low32(content), `${length} bytes`).toBe(stored);
    }
  });
});
