import fc from "fast-check";
import { expect, test } from "vitest";
import { BLOCK_BYTES, planDisk } from "../src/disk/disk-layout.ts";

const layouts = fc
  .record({
    seed: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
    sizeBlocks: fc.integer({ min: 1000, max: 200_000 }),
    share: fc.double({ min: 0.01, max: 0.8, noNaN: true }),
  })
  .map(({ seed, sizeBlocks, share }) => ({
    seed,
    size: sizeBlocks * BLOCK_BYTES,
    dataBytes: Math.max(1, Math.floor(sizeBlocks * share)) * BLOCK_BYTES,
  }));

test("extents ascend without overlap, in whole blocks, within the disk, and hold the data that was asked for", () => {
  fc.assert(
    fc.property(layouts, (options) => {
      let end = 0;
      let data = 0;
      for (const extent of planDisk(options)) {
        expect(extent.offset).toBeGreaterThanOrEqual(end);
        expect(extent.length).toBeGreaterThan(0);
        expect((extent.offset | extent.length) % BLOCK_BYTES).toBe(0);
        end = extent.offset + extent.length;
        data += extent.length;
      }
      expect(end).toBeLessThanOrEqual(options.size);
      expect(data).toBe(options.dataBytes);
    }),
    { numRuns: 60 },
  );
});

test("a sizeable disk has every kind of content, and holes of every length between", () => {
  const extents = planDisk({ seed: 1, size: 2 ** 32, dataBytes: 2 ** 30 });
  expect(new Set(extents.map(({ kind }) => kind))).toEqual(new Set(["text", "binary", "packed", "zero"]));
  const holes = new Set<number>();
  for (const [index, { offset }] of extents.entries()) {
    const previous = extents[index - 1];
    if (previous !== undefined)
      holes.add(Math.floor(Math.log2(offset - previous.offset - previous.length + 1)));
  }
  // From one block to the largest gap, and the empty ends of the groups.
  expect(holes.size).toBeGreaterThan(10);
});

test("the plan depends on the seed alone", () => {
  const options = { size: 2 ** 28, dataBytes: 2 ** 26 };
  expect(planDisk({ seed: 3, ...options })).toEqual(planDisk({ seed: 3, ...options }));
  expect(planDisk({ seed: 3, ...options })).not.toEqual(planDisk({ seed: 4, ...options }));
});

test.each([
  ["a size that is no whole block", { size: 10_000, dataBytes: 4096 }],
  ["more data than fits", { size: 2 ** 20, dataBytes: 2 ** 20 }],
  ["no data", { size: 2 ** 20, dataBytes: 0 }],
])("refuses %s", (_, options) => {
  expect(() => planDisk({ seed: 1, ...options })).toThrow(RangeError);
});
