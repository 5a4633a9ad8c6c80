import { describe, expect, it } from "vitest";
import { decompress, isZstdError, readFrame, ZstdError } from "../src/index.ts";
import { compressWithTool, drawContent, frameOf, hasZstdTool, noise, randomIntegers } from "./frames.ts";

/** Decoded by libzstd, on a Node.js that has it. */
const libzstd = await import("node:zlib").then(
  (zlib) =>
    Reflect.get(zlib, "zstdDecompressSync") as ((input: Uint8Array, options: object) => Buffer) | undefined,
);

describe.skipIf(!hasZstdTool)("frames of the zstd tool", () => {
  const LEVELS = ["-1", "-3", "-6", "-9", "-13", "-19", "--fast=5", "--long -5"];

  it.each(LEVELS)("are decoded: %s", (level) => {
    const random = randomIntegers(LEVELS.indexOf(level) + 1);
    for (const limit of [1, 600, 65_537, 300_000]) {
      const content = drawContent(random(limit), random);
      for (const check of ["--check", "--no-check"]) {
        const stored = compressWithTool(content, [...level.split(" "), check]);
        const into = new Uint8Array(content.length);
        const result = decompress(stored, { into });
        expect(result).toEqual({ inputLength: stored.length, outputLength: content.length });
        expect(content.equals(into)).toBe(true);
        expect(readFrame(stored, 0).end).toBe(stored.length);

        const followed = Buffer.concat([stored, noise(600, 1)]);
        into.fill(0);
        expect(decompress(followed, { into, ignoreRest: true }).inputLength).toBe(
          content.length === 0 ? 0 : stored.length,
        );
        expect(content.equals(into)).toBe(true);
        expect(() => decompress(followed, { into })).toThrow(ZstdError);
      }
    }
  });

  it("that are cut off are refused at every length", () => {
    const content = drawContent(3000, randomIntegers(5));
    const stored = compressWithTool(content, ["--check"]);
    const into = new Uint8Array(content.length);
    for (let length = 1; length < stored.length; length++) {
      expect(
        codeOf(() => decompress(stored.subarray(0, length), { into })),
        `${length} bytes`,
      ).toBe("truncated");
    }
  });

  it("that are changed in a few bytes are refused, or decode to what libzstd says", () => {
    const random = randomIntegers(11);
    for (const level of ["-1", "-3", "-19"]) {
      for (let round = 0; round < 6; round++) {
        const content = drawContent(1 + random(30_000), random);
        const stored = compressWithTool(content, [level, "--no-check"]);
        for (let change = 0; change < 120; change++) {
          const changed = Buffer.from(stored);
          for (let left = 1 + random(3); left > 0; left--) {
            changed[random(Math.min(changed.length, random(2) === 0 ? 80 : changed.length))] = random(256);
          }
          const into = Buffer.alloc(content.length);
          const decoded = decodedOrRefused(changed, into);
          if (decoded === undefined || libzstd === undefined) continue;
          const theirs = libzstd(changed, { maxOutputLength: Math.max(1, content.length) });
          expect(decoded.equals(theirs), changed.toString("hex").slice(0, 200)).toBe(true);
        }
      }
    }
  });

  it("with a checksum that does not match are refused", () => {
    const content = drawContent(5000, randomIntegers(3));
    const stored = compressWithTool(content, ["--check"]);
    stored[stored.length - 1]! ^= 1;
    expect(codeOf(() => decompress(stored, { into: new Uint8Array(5000) }))).toBe("corrupt");
  });

  it("do not fit into less memory than their content", () => {
    const content = drawContent(5000, randomIntegers(4));
    for (const size of ["--content-size", "--no-content-size"]) {
      const stored = compressWithTool(content, ["--stream-size=5000", size]);
      const into = new Uint8Array(4999);
      expect(codeOf(() => decompress(stored, { into }))).toBe("limit-exceeded");
    }
  });
});

describe("blocks made by hand", () => {
  /** No literals; tables of one code each, so that a sequence takes no bits: no literals, offset of history, 3 bytes. */
  const sequences = (count: number[], offsetCode = 0): number[] => [
    0,
    ...count,
    0b0101_0100,
    0,
    offsetCode,
    0,
    1,
  ];

  it("end when the block is full, however many sequences they claim", () => {
    // 0x7f00 + 0xffff sequences in 22 bytes.
    const frame = frameOf(131_072, Buffer.from(sequences([255, 255, 255])));
    expect(codeOf(() => decompress(frame, { into: new Uint8Array(131_072) }))).toBe("corrupt");
    // Literals first, so that there is something to copy: one of them, for ever.
    const literals = [1 | (4 << 3), 7];
    const block = Buffer.from([...literals, ...sequences([255, 255, 255]).slice(1)]);
    expect(codeOf(() => decompress(frameOf(131_072, block), { into: new Uint8Array(131_072) }))).toBe(
      "corrupt",
    );
  });

  it("copy nothing from before the frame, nor from an offset of 0", () => {
    const before = frameOf(4, Buffer.from([1 | (4 << 3), 7, 0]));
    const into = new Uint8Array(7);
    expect(decompress(before, { into })).toEqual({ inputLength: before.length, outputLength: 4 });
    expect([...into]).toEqual([7, 7, 7, 7, 0, 0, 0]);
    // Offset code 0 without literals: the second of the history, 4 bytes back.
    const match = frameOf(3, Buffer.from(sequences([1])));
    expect(codeOf(() => decompress(Buffer.concat([before, match]), { into }))).toBe("corrupt");
  });

  it("may not have a reserved bit, bits that are left, or bytes behind their sequences", () => {
    const literals = [1 | (10 << 3), 7];
    const good = [...literals, 0];
    const into = new Uint8Array(10);
    expect(decompress(frameOf(10, Buffer.from(good)), { into }).outputLength).toBe(10);
    expect(codeOf(() => decompress(frameOf(10, Buffer.from([...good, 0])), { into }))).toBe("corrupt");
    const modes = (value: number, stream: number) => Buffer.from([...literals, 1, value, 4, 0, 0, stream]);
    expect(codeOf(() => decompress(frameOf(13, modes(0b0101_0101, 1)), { into: new Uint8Array(13) }))).toBe(
      "corrupt",
    );
    expect(codeOf(() => decompress(frameOf(13, modes(0b0101_0100, 2)), { into: new Uint8Array(13) }))).toBe(
      "corrupt",
    );
    expect(codeOf(() => decompress(frameOf(13, modes(0b0101_0100, 0)), { into: new Uint8Array(13) }))).toBe(
      "corrupt",
    );
    const whole = new Uint8Array(13);
    expect(decompress(frameOf(13, modes(0b0101_0100, 1)), { into: whole }).outputLength).toBe(13);
    expect([...whole]).toEqual(new Array(13).fill(7));
  });

  it("may not repeat tables, or a Huffman code, where none was", () => {
    const literals = [1 | (4 << 3), 7];
    const into = new Uint8Array(64);
    for (const modes of [0b1101_0100, 0b0111_0100, 0b0101_1100]) {
      const block = Buffer.from([...literals, 1, modes, 0, 0, 0, 1]);
      expect(codeOf(() => decompress(frameOf(64, block), { into }))).toBe("corrupt");
    }
    const treeless = Buffer.from([3 | (4 << 4), 0x40, 0, 1, 0]);
    expect(codeOf(() => decompress(frameOf(64, treeless), { into }))).toBe("corrupt");
  });

  it("of random bytes are refused with a position, or decoded", () => {
    const random = randomIntegers(7);
    let decoded = 0;
    for (let round = 0; round < 5000; round++) {
      const frame = frameOf(4096, noise(1 + random(60), random(2 ** 30)));
      // Most are refused for their first byte; these get further.
      if (random(4) > 0) frame[12] = [0, 1, 2, 3, 8, 40][random(6)]!;
      if (decodedOrRefused(frame, Buffer.alloc(4096)) !== undefined) decoded++;
    }
    expect(decoded).toBeLessThan(100);
  });
});

function codeOf(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    if (isZstdError(error)) return error.code;
    throw error;
  }
  return "decoded";
}

/** What `input` decodes to; undefined if it is refused, for a byte that is there. */
function decodedOrRefused(input: Uint8Array, into: Buffer): Buffer | undefined {
  try {
    return into.subarray(0, decompress(input, { into }).outputLength);
  } catch (error) {
    if (!isZstdError(error)) throw error;
    expect(error.position).toBeLessThanOrEqual(input.length);
    expect(error.position).toBeGreaterThanOrEqual(0);
    return undefined;
  }
}
