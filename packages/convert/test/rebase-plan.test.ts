/** What has to be compared is compared, in whole units, and never before it is known. */
import fc from "fast-check";
import { expect, it } from "vitest";
import { type RangeState, type RebaseItem, RebasePlan } from "../src/rebase-plan.ts";

const drawnRanges = fc.array(
  fc.record({
    state: fc.constantFrom<RangeState[]>("defined", "equal", "unknown"),
    sectors: fc.integer({ min: 1, max: 40 }),
  }),
  { minLength: 1, maxLength: 30 },
);

it("answers whole units around everything unknown, clipped where the overlay defines, in order", () => {
  fc.assert(
    fc.property(drawnRanges, fc.constantFrom(1, 4, 8), fc.constantFrom(1, 2, 4), (ranges, unit, chunk) => {
      const size = ranges.reduce((sum, { sectors }) => sum + sectors, 0);
      const plan = new RebasePlan({ size, unitBytes: unit, chunkBytes: unit * chunk });
      const items: RebaseItem[] = [];
      let position = 0;
      for (const { state, sectors } of ranges) {
        position += sectors;
        const answered = plan.push(state, sectors);
        for (const { offset, length } of answered) expect(offset + length).toBeLessThanOrEqual(position);
        items.push(...answered);
      }
      items.push(...plan.end());
      expect(sectorsOf(items)).toEqual(expectedSectors(ranges, size, unit));
      for (const [index, { offset, length }] of items.entries()) {
        expect(length).toBeGreaterThan(0);
        expect(Math.floor(offset / (unit * chunk))).toBe(Math.floor((offset + length - 1) / (unit * chunk)));
        const next = items[index + 1];
        if (next !== undefined) expect(next.offset).toBeGreaterThanOrEqual(offset + length);
      }
    }),
    { numRuns: 500 },
  );
});

function sectorsOf(items: readonly RebaseItem[]): number[] {
  return items.flatMap(({ offset, length }) => Array.from({ length }, (_, index) => offset + index));
}

/** Sectors that the overlay does not define, in a part of a unit that has an unknown one and no defined one between. */
function expectedSectors(
  ranges: readonly { readonly state: RangeState; readonly sectors: number }[],
  size: number,
  unit: number,
): number[] {
  const states = ranges.flatMap(({ state, sectors }) => Array.from({ length: sectors }, () => state));
  const wanted = new Set<number>();
  for (let sector = 0; sector < size; sector++) {
    if (states[sector] !== "unknown") continue;
    const start = Math.floor(sector / unit) * unit;
    const end = Math.min(size, start + unit);
    for (let at = sector; at >= start && states[at] !== "defined"; at--) wanted.add(at);
    for (let at = sector; at < end && states[at] !== "defined"; at++) wanted.add(at);
  }
  return [...wanted].sort((first, second) => first - second);
}
