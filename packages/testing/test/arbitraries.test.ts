import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { chainArbitrary, imageOptionsArbitrary } from "../src/arbitraries.ts";
import { layersOf, modelOfChain } from "../src/drawn-chain.ts";

describe("imageOptionsArbitrary", () => {
  it("draws only what the format allows", () => {
    fc.assert(
      fc.property(imageOptionsArbitrary(), (options) => {
        const { version, clusterSize = 0, refcountBits = 16, extendedL2 = false } = options;
        expect(Math.log2(clusterSize) % 1).toBe(0);
        expect(clusterSize).toBeGreaterThanOrEqual(512);
        expect(clusterSize).toBeLessThanOrEqual(2 ** 21);
        if (version === 2) expect([refcountBits, extendedL2]).toEqual([16, false]);
        if (extendedL2) expect(clusterSize).toBeGreaterThanOrEqual(2 ** 14);
      }),
    );
  });
});

describe("chainArbitrary", () => {
  it("draws operations that lie within their layer, and chains whose model can be built", async () => {
    await fc.assert(
      fc.asyncProperty(chainArbitrary(), async (chain) => {
        for (const layer of layersOf(chain)) {
          for (const { kind, offset, length } of layer.operations) {
            expect(offset).toBeGreaterThanOrEqual(0);
            expect(offset + length).toBeLessThanOrEqual(layer.size);
            if (kind !== "snapshot") expect(length).toBeGreaterThan(0);
          }
        }
        expect((await modelOfChain(chain)).size).toBe(chain.top.size);
        expect(JSON.parse(JSON.stringify(chain))).toEqual(chain);
      }),
      { numRuns: 50 },
    );
  });

  it("draws every kind of chain, size and option within a few hundred tries", () => {
    const seen = new Set<string>();
    for (const { below, top } of fc.sample(chainArbitrary(), { seed: 1, numRuns: 400 })) {
      seen.add(`${below.length} below`);
      seen.add(below[0] === undefined ? "no base" : `base ${below[0].format}`);
      seen.add(`data file ${top.dataFile}`);
      seen.add(`preallocation ${top.options.preallocation}`);
      seen.add(`cluster ${top.options.clusterSize}`);
      seen.add(`refcount ${top.options.refcountBits}`);
      seen.add(`extended ${top.options.extendedL2}`);
      if (top.size % (top.options.clusterSize ?? 1) !== 0) seen.add("odd virtual size");
      const base = below[0];
      if (base?.format === "raw" && base.size % 512 !== 0) seen.add("odd raw length");
      if (base !== undefined && base.size < top.size) seen.add("shorter base");
      if (base !== undefined && base.size > top.size) seen.add("longer base");
    }
    const clusters = Array.from({ length: 13 }, (_, index) => `cluster ${2 ** (9 + index)}`);
    const refcounts = Array.from({ length: 7 }, (_, index) => `refcount ${2 ** index}`);
    const expected = [
      ...clusters,
      ...refcounts,
      ...["0 below", "1 below", "2 below", "no base", "base raw", "base qcow2"],
      ...["data file none", "data file plain", "data file raw"],
      ...["preallocation off", "preallocation metadata", "preallocation falloc", "preallocation full"],
      ...[
        "extended true",
        "extended false",
        "odd virtual size",
        "odd raw length",
        "shorter base",
        "longer base",
      ],
    ];
    expect(expected.filter((what) => !seen.has(what))).toEqual([]);
  });
});
