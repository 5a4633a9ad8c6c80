/** fast-check arbitraries for guest operations on a shape. */
import fc from "fast-check";
import { CONTENT_KINDS } from "../content.ts";
import type { EngineOperation } from "./engine-operations.ts";
import type { EngineShape } from "./engine-shapes.ts";

/** Any operation that the shape allows: at clusters, at sectors, or anywhere; most of them small. */
export function engineOperationArbitrary(shape: EngineShape): fc.Arbitrary<EngineOperation> {
  const { clusterSize, size } = shape;
  const drawnContent = { content: fc.constantFrom(...CONTENT_KINDS), seed: fc.nat(0xffff) };
  const write = fc
    .record({
      range: writeRangeArbitrary(shape),
      ...drawnContent,
    })
    .map(({ range, ...rest }): EngineOperation => ({ kind: "write", ...range, ...rest }));
  const ofClusters = (
    kind: "write-compressed" | "write-stored",
    end: number,
  ): fc.Arbitrary<EngineOperation> =>
    fc
      .record({ range: rangeArbitrary(end, fc.constant(clusterSize), clusterSize * 4), ...drawnContent })
      .map(({ range, ...rest }): EngineOperation => ({ kind, ...range, ...rest }));
  const compressed = ofClusters("write-compressed", size);
  const stored = ofClusters("write-stored", Math.floor(size / clusterSize) * clusterSize);
  const zeroes = fc
    .record({
      kind: fc.constantFrom("write-zeroes" as const, "unmap" as const, "discard" as const),
      range: rangeArbitrary(size, fc.constantFrom(1, 512, clusterSize), clusterSize * 8),
    })
    .map(({ kind, range }): EngineOperation => ({ kind, ...range }));
  const all = fc
    .record({ kind: fc.constantFrom("unmap" as const, "discard" as const) })
    .map(({ kind }): EngineOperation => ({ kind, offset: 0, length: size }));
  return fc.oneof(
    { weight: 10, arbitrary: write },
    { weight: shape.hasDataFile ? 0 : 4, arbitrary: compressed },
    { weight: 2, arbitrary: stored },
    { weight: 7, arbitrary: zeroes },
    { weight: 1, arbitrary: all },
    { weight: 3, arbitrary: fc.constant<EngineOperation>({ kind: "flush" }) },
  );
}

/** As {@link rangeArbitrary}; where the disk has more than one L2 table, many reach from what one maps to what the next does. */
function writeRangeArbitrary({
  clusterSize,
  size,
}: EngineShape): fc.Arbitrary<{ readonly offset: number; readonly length: number }> {
  const unit = fc.constantFrom(1, 512, clusterSize);
  const anywhere = rangeArbitrary(size, unit, clusterSize * 5);
  // Entries have 8 bytes; a table is a cluster.
  const coverage = (clusterSize / 8) * clusterSize;
  const borders = Math.floor((size - 1) / coverage);
  if (borders === 0) return anywhere;
  const reach = fc.integer({ min: 1, max: 3 * clusterSize });
  const across = fc
    .record({ border: fc.integer({ min: 1, max: borders }), before: reach, behind: reach })
    .map(({ border, before, behind }) => {
      const offset = border * coverage - before;
      return { offset, length: Math.min(before + behind, size - offset) };
    });
  return fc.oneof({ weight: 4, arbitrary: anywhere }, { weight: 1, arbitrary: across });
}

/**
 * Ranges within the disk that begin at a multiple of the unit and end at one, or at the end of the disk. Many meet in
 * one place, so that what one leaves there the next one finds; a few are as long as the disk.
 */
function rangeArbitrary(
  size: number,
  unit: fc.Arbitrary<number>,
  maxLength: number,
): fc.Arbitrary<{ readonly offset: number; readonly length: number }> {
  const longest = Math.min(size, maxLength);
  const meetingPlace = Math.min(Math.floor(size / 3), longest * 2);
  const offset = fc.oneof(
    { weight: 3, arbitrary: fc.nat(size - 1) },
    { weight: 2, arbitrary: fc.nat(longest).map((at) => Math.min(size - 1, meetingPlace + at)) },
  );
  const length = fc.oneof(
    { weight: 3, arbitrary: fc.integer({ min: 1, max: longest }) },
    { weight: 2, arbitrary: fc.integer({ min: 1, max: Math.max(1, Math.floor(longest / 4)) }) },
  );
  const most = {
    offset: fc.nat(Math.floor(size / 8)),
    length: fc.integer({ min: Math.ceil(size / 2), max: size }),
  };
  return fc
    .oneof(
      { weight: 15, arbitrary: fc.record({ unit, offset, length }) },
      // Only large clusters make such writes larger than what is joined in memory.
      { weight: size > 2 ** 20 ? 5 : 1, arbitrary: fc.record({ unit, ...most }) },
    )
    .map((drawn) => {
      const start = Math.floor(drawn.offset / drawn.unit) * drawn.unit;
      const bytes = Math.ceil(drawn.length / drawn.unit) * drawn.unit;
      return { offset: start, length: Math.min(bytes, size - start) };
    });
}
