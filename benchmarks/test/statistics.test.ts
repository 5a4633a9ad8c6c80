import fc from "fast-check";
import { expect, test } from "vitest";
import { judge, rotate, summarize } from "../src/measure/statistics.ts";

test.each([
  { values: [3], median: 3 },
  { values: [4, 1], median: 2.5 },
  { values: [9, 1, 2], median: 2 },
  { values: [10, 9, 100, 8], median: 9.5 },
])("the median of $values is $median", ({ values, median }) => {
  expect(summarize(values).median).toBe(median);
});

test("half of the runs are on each side of the median, whatever their order", () => {
  fc.assert(
    fc.property(fc.array(fc.double({ min: 0, max: 1e6, noNaN: true }), { minLength: 1 }), (values) => {
      const { median, smallest, largest } = summarize(values);
      expect(values.filter((value) => value < median).length).toBeLessThanOrEqual(values.length / 2);
      expect(values.filter((value) => value > median).length).toBeLessThanOrEqual(values.length / 2);
      expect([smallest, largest]).toEqual(
        [Math.min(...values), Math.max(...values)].map((value) => value + 0),
      );
      expect(summarize(values.toReversed())).toEqual({ median, smallest, largest });
    }),
  );
});

test("runs are sorted as numbers, and stay as they were", () => {
  const values = [10, 9, 1];
  expect(summarize(values)).toEqual({ median: 9, smallest: 1, largest: 10 });
  expect(values).toEqual([10, 9, 1]);
});

test.each([[[]], [[1, Number.NaN]], [[Number.POSITIVE_INFINITY]]])("no summary of %j", (values) => {
  expect(() => summarize(values)).toThrow(RangeError);
});

test.each([
  ["far apart", [2, 2.1, 2.2], [1, 1.1, 1.2], "slower"],
  ["far apart, the other way", [1, 1.1, 1.2], [2, 2.1, 2.2], "faster"],
  ["steady, but 4 % apart", [1.04, 1.04, 1.04], [1, 1, 1], "no clear difference"],
  ["steady, but 4 % apart, the other way", [1, 1, 1], [1.04, 1.04, 1.04], "no clear difference"],
  [
    "medians apart, but one of theirs was slower than ours",
    [1, 1.2, 1.3],
    [0.9, 1, 1.25],
    "no clear difference",
  ],
  [
    "medians apart, but one of ours was as fast as theirs",
    [0.9, 1.2, 1.3],
    [0.9, 1, 1.05],
    "no clear difference",
  ],
] as const)("%s: %j against %j is %s", (_, ours, theirs, verdict) => {
  expect(judge(summarize(ours), summarize(theirs))).toBe(verdict);
});

test("a judgement turned round is the opposite", () => {
  const opposite = { faster: "slower", slower: "faster", "no clear difference": "no clear difference" };
  const runs = fc.array(fc.double({ min: 0.9, max: 1.3, noNaN: true }), { minLength: 1, maxLength: 5 });
  fc.assert(
    fc.property(runs, runs, (first, second) => {
      const [ours, theirs] = [summarize(first), summarize(second)];
      expect(judge(theirs, ours)).toBe(opposite[judge(ours, theirs)]);
    }),
  );
});

test("over as many runs as there are tools, each tool has each place once", () => {
  const tools = ["ours", "theirs", "newer", "cp"];
  const places = tools.map((_, run) => rotate(tools, run));
  for (const place of tools.keys())
    expect(new Set(places.map((order) => order[place]))).toEqual(new Set(tools));
  expect(rotate(tools, 4)).toEqual(tools);
  expect(rotate([], 3)).toEqual([]);
});
