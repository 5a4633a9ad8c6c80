import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { portablePrimitives } from "../src/byte-primitives.ts";
import { detectZeroes, type Run } from "../src/zero-detection.ts";

const SECTOR = 512;
const { isZero } = portablePrimitives;

/** A buffer by sectors: "x" holds data (one byte, at its end), "." is zero. */
function sectors(pattern: string): Uint8Array {
  const bytes = new Uint8Array(pattern.length * SECTOR);
  [...pattern].forEach((mark, index) => {
    if (mark === "x") bytes[(index + 1) * SECTOR - 1] = 1;
  });
  return bytes;
}

/** Runs by sectors: "w" is written, "." left out. */
function written(runs: readonly Run[]): string {
  return runs.map(({ start, end, isData }) => (isData ? "w" : ".").repeat((end - start) / SECTOR)).join("");
}

describe("zero detection", () => {
  it.each([
    ["writes data that fills the buffer in one run", 4096, 0, "xxxxxxxxxxxxxxxx", "wwwwwwwwwwwwwwww"],
    ["leaves out a buffer of zeroes, however short", 4096, 0, "...", "..."],
    [
      "writes an aligned block for one sector of data",
      4096,
      0,
      "........x..............",
      "........wwwwwwww.......",
    ],
    [
      "counts alignment on the disk, not in the buffer",
      4096,
      4 * SECTOR,
      "....x...........",
      "....wwwwwwww....",
    ],
    ["leaves out single sectors with 512", 512, 0, "x.x..x", "w.w..w"],
    ["joins data across zeroes shorter than the minimum", 1536, 0, "xx..xx....xx", "wwwwww....ww"],
    ["does not write zeroes before the first and after the last data", 1536, 0, "..xx..", "..ww.."],
  ])("%s", (_name, sparseBytes, offset, pattern, expected) => {
    expect(written(detectZeroes(sectors(pattern), offset, { sparseBytes, unitBytes: SECTOR, isZero }))).toBe(
      expected,
    );
  });

  it("writes whole units, however small the zeroes it was asked to find", () => {
    const detection = { sparseBytes: SECTOR, unitBytes: 4 * SECTOR, isZero };
    expect(written(detectZeroes(sectors("x...........x.."), SECTOR, detection))).toBe("www........wwww");
  });

  it("writes every byte that is not zero, leaves out what it may and nothing shorter", () => {
    const patterns = fc.array(fc.constantFrom("x", ".", "........", "xxxxxxx", "..."), { maxLength: 40 });
    fc.assert(
      fc.property(patterns, fc.nat(40), fc.integer({ min: 1, max: 24 }), (parts, skip, sparseSectors) => {
        const pattern = parts.join("");
        const sparseBytes = sparseSectors * SECTOR;
        const alignment = 2 ** Math.floor(Math.log2(sparseSectors));
        const runs = detectZeroes(sectors(pattern), skip * SECTOR, {
          sparseBytes,
          unitBytes: SECTOR,
          isZero,
        });
        const marks = written(runs);
        expect(marks.length).toBe(pattern.length);
        runs.forEach((run, index) => {
          const [start, end] = [run.start / SECTOR, run.end / SECTOR];
          const isInner = index > 0 && index < runs.length - 1;
          const content = pattern.slice(start, end);
          if (!run.isData) expect(content).not.toContain("x");
          if (!run.isData && isInner) expect(end - start).toBeGreaterThanOrEqual(sparseSectors);
          if (index > 0) expect((skip + start) % alignment).toBe(0);
          if (run.isData)
            expect(longestAlignedGap(content, skip + start, alignment)).toBeLessThan(sparseSectors);
          if (run.isData) expect(content).toContain("x");
        });
      }),
      { numRuns: 2000 },
    );
  });
});

/** Sectors of the longest gap between data that could have been left out in whole aligned blocks. */
function longestAlignedGap(content: string, firstSector: number, alignment: number): number {
  let longest = 0;
  for (const match of content.matchAll(/(?<=x)\.+(?=x)/g)) {
    const start = Math.ceil((firstSector + match.index) / alignment) * alignment;
    const end = Math.floor((firstSector + match.index + match[0].length) / alignment) * alignment;
    longest = Math.max(longest, end - start);
  }
  return longest;
}
