import type { Extent } from "@qcow2/core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type CopyItem, CopyPlan, type CopyPlanOptions } from "../src/copy-plan.ts";

const K = 1024;
type Part = Pick<Extent, "kind" | "depth" | "length">;

function extentsOf(parts: readonly Part[]): Extent[] {
  let offset = 0;
  return parts.map((part) => {
    const stored = part.kind === "data";
    const extent = { ...part, offset, present: stored, stored, hostOffset: undefined, compressed: false };
    offset += part.length;
    return extent;
  });
}

function plan(parts: readonly Part[], options: Partial<CopyPlanOptions> = {}): CopyItem[] {
  const size = parts.reduce((sum, part) => sum + part.length, 0);
  const copyPlan = new CopyPlan({
    size,
    chunkBytes: 64 * K,
    unitBytes: 512,
    writeEverything: false,
    targetIsZero: false,
    ...options,
  });
  return [...extentsOf(parts).flatMap((extent) => copyPlan.push(extent)), ...copyPlan.end()];
}

const data = (length: number, depth = 0): Part => ({ kind: "data", depth, length });
const zero = (length: number, depth = 0): Part => ({ kind: "zero", depth, length });

describe("the plan of a copy", () => {
  it("joins extents and cuts them at multiples of the chunk size", () => {
    expect(plan([zero(10 * K), data(50 * K), data(60 * K), data(1 * K)], { targetIsZero: true })).toEqual([
      { kind: "copy", offset: 10 * K, length: 54 * K },
      { kind: "copy", offset: 64 * K, length: 57 * K },
    ]);
  });

  it("gives out a chunk as soon as it is complete", () => {
    const copyPlan = new CopyPlan({
      size: 200 * K,
      chunkBytes: 64 * K,
      unitBytes: 512,
      writeEverything: false,
      targetIsZero: true,
    });
    const [extent] = extentsOf([data(130 * K)]);
    expect(copyPlan.push(extent!).map(({ length }) => length)).toEqual([64 * K, 64 * K]);
  });

  it("says zero only where the target is not zero already", () => {
    expect(plan([data(4 * K), zero(8 * K)])).toContainEqual({ kind: "zero", offset: 4 * K, length: 8 * K });
    expect(plan([data(4 * K), zero(8 * K)], { targetIsZero: true })).toHaveLength(1);
  });

  it("writes holes too if everything is to be written", () => {
    expect(plan([data(4 * K), zero(100 * K)], { writeEverything: true, targetIsZero: true })).toEqual([
      { kind: "copy", offset: 0, length: 4 * K },
      { kind: "fill", offset: 4 * K, length: 60 * K },
      { kind: "fill", offset: 64 * K, length: 40 * K },
    ]);
  });

  it("copies units that are only partly zero as a whole", () => {
    const parts = [zero(10 * K), data(2 * K), zero(12 * K), zero(10 * K)];
    expect(plan(parts, { unitBytes: 8 * K })).toEqual([
      { kind: "zero", offset: 0, length: 8 * K },
      { kind: "copy", offset: 8 * K, length: 8 * K },
      { kind: "zero", offset: 16 * K, length: 18 * K },
    ]);
  });

  it("leaves what the shared backing file holds, and nothing beyond its end", () => {
    const backing = { depth: 1, sourceSize: 20 * K, targetSize: 30 * K };
    expect(plan([data(8 * K, 0), data(8 * K, 1), zero(8 * K, 1), zero(16 * K, 0)], { backing })).toEqual([
      { kind: "copy", offset: 0, length: 8 * K },
      { kind: "zero", offset: 20 * K, length: 10 * K },
    ]);
  });

  it("copies data of a deeper layer that reaches beyond what is shared", () => {
    const backing = { depth: 1, sourceSize: 4 * K, targetSize: Number.POSITIVE_INFINITY };
    expect(plan([data(8 * K, 1)], { backing })).toEqual([{ kind: "copy", offset: 4 * K, length: 4 * K }]);
  });

  it("refuses a map with gaps, overlaps or a missing end", () => {
    const options = {
      size: 8 * K,
      chunkBytes: 4 * K,
      unitBytes: 512,
      writeEverything: false,
      targetIsZero: true,
    };
    const [first, second] = extentsOf([data(4 * K), data(4 * K)]);
    expect(() => new CopyPlan(options).push(second!)).toThrow("map");
    const twice = new CopyPlan(options);
    twice.push(first!);
    expect(() => twice.push(first!)).toThrow("map");
    expect(() => twice.end()).toThrow("map");
  });

  it("covers every byte exactly as its extent asks, whatever the extents", () => {
    const parts = fc.array(
      fc.record({
        kind: fc.constantFrom("data" as const, "zero" as const),
        depth: fc.nat(2),
        length: fc.integer({ min: 1, max: 40 }).map((sectors) => sectors * 512),
      }),
      { maxLength: 30 },
    );
    const options = fc.record({
      chunkBytes: fc.constantFrom(4 * K, 16 * K),
      unitBytes: fc.constantFrom(512, 2 * K, 4 * K),
      writeEverything: fc.boolean(),
      targetIsZero: fc.boolean(),
    });
    fc.assert(
      fc.property(parts, options, (drawn, drawnOptions) => {
        const items = plan(drawn, drawnOptions);
        const { unitBytes, chunkBytes, writeEverything, targetIsZero } = drawnOptions;
        const size = drawn.reduce((sum, part) => sum + part.length, 0);
        const kinds = new Array<string>(size / 512).fill("keep");
        let last = 0;
        for (const { kind, offset, length } of items) {
          expect(offset).toBeGreaterThanOrEqual(last);
          last = offset + length;
          if (kind !== "zero")
            expect(Math.floor((last - 1) / chunkBytes)).toBe(Math.floor(offset / chunkBytes));
          if (kind === "copy") expect(offset % unitBytes).toBe(0);
          if (kind === "copy" && last < size) expect(last % unitBytes).toBe(0);
          kinds.fill(kind, offset / 512, last / 512);
        }
        const zeroKind = writeEverything ? "fill" : targetIsZero ? "keep" : "zero";
        for (const { kind, offset, length } of extentsOf(drawn)) {
          const expected = kind === "data" ? ["copy"] : unitBytes > 512 ? [zeroKind, "copy"] : [zeroKind];
          for (const actual of kinds.slice(offset / 512, (offset + length) / 512))
            expect(expected).toContain(actual);
        }
      }),
      { numRuns: 250 },
    );
  });
});
