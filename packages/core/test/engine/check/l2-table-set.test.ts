import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { L2TableSet } from "../../../src/engine/check/l2-table-set.ts";

describe("set of L2 tables", () => {
  it("behaves like a map from offsets to weights", () => {
    const reference = fc.record({
      offset: fc.nat(30).map((value) => value * 512),
      active: fc.boolean(),
      weight: fc.constantFrom(1, 1, 1, 3, 2 ** 33),
    });
    fc.assert(
      fc.property(fc.array(reference, { maxLength: 200 }), (references) => {
        const set = new L2TableSet(references.length, 0);
        const model = new Map<number, { active: number; total: number }>();
        for (const { offset, active, weight } of references) {
          set.add(offset, active, weight);
          const known = model.get(offset) ?? { active: 0, total: 0 };
          model.set(offset, {
            active: known.active + (active ? weight : 0),
            total: known.total + weight,
          });
        }
        const { count, offsets, activeWeights, totalWeights } = set.tables();
        const found = Array.from({ length: count }, (_, index) => [
          offsets[index],
          { active: activeWeights[index], total: totalWeights[index] },
        ]);
        expect(found).toEqual([...model].sort(([first], [second]) => first - second));
      }),
    );
  });

  it("says before it is full that it is, and is empty after it was cleared", () => {
    const set = new L2TableSet(10_000_000, 0);
    let added = 0;
    while (set.hasRoom(L2TableSet.pieceEntries)) {
      for (let entry = 0; entry < L2TableSet.pieceEntries; entry++) set.add(added++ * 512, true, 1);
    }
    expect(added).toBeGreaterThan(0);
    expect(set.tables().count).toBe(added);
    set.clear();
    expect(set.tables().count).toBe(0);
    expect(set.hasRoom(L2TableSet.pieceEntries)).toBe(true);
  });
});
