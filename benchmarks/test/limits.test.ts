import { describe, expect, test } from "vitest";
import { CASES } from "../src/cases/cases.ts";
import type { EngineResults } from "../src/engine/engine-results.ts";
import { LIMITS } from "../src/limits/limits.ts";
import { isMet, type LimitResult, measureLimits } from "../src/limits/measure-limits.ts";
import { baseSummary } from "../src/report/base-summary.ts";
import { LIMIT_HEADINGS, limitRow, limitsInWords } from "../src/report/limits-table.ts";
import type { BenchmarkResults, CaseResult, ToolResult } from "../src/results.ts";

const MIB = 2 ** 20;
const MACHINE = {
  processor: "Processor",
  processors: 2,
  memoryBytes: 2 ** 34,
  system: "Linux 6",
  fileSystem: "ext4",
  loadBefore: 0.1,
};

function tool(options: Partial<ToolResult> & Pick<ToolResult, "name" | "kind">): ToolResult {
  const seconds = options.seconds ?? [1, 1, 1];
  return {
    node: undefined,
    cpuSeconds: seconds,
    peakBytes: seconds.map(() => 100 * MIB),
    outputBytes: undefined,
    ...options,
    seconds,
  };
}

const ours = (seconds: readonly number[], node = "20.20.2"): ToolResult =>
  tool({ name: `qcow2 on Node.js ${node}`, kind: "ours", node, seconds });
const qemu = (seconds: readonly number[]): ToolResult =>
  tool({ name: "qemu-img 10.0.13", kind: "qemu", seconds });

function resultsOf(
  ...cases: readonly (Pick<CaseResult, "id" | "tools"> & Partial<CaseResult>)[]
): BenchmarkResults {
  return {
    schema: 2,
    date: "2026-01-02T03:04:05.000Z",
    runs: 3,
    machine: MACHINE,
    recipe: "recipe 1, seed 1",
    inputs: ["a disk"],
    meter: "a clock",
    judge: "qemu-img 10.0.13",
    cases: cases.map((result) => ({ title: `title of ${result.id}`, leftOut: [], ...result })),
  };
}

function find(results: readonly LimitResult[], title: string): readonly LimitResult[] {
  return results.filter(({ limit }) => limit.title === title);
}

test("every limit of time names a case", () => {
  const ids = CASES.map(({ id }) => id);
  for (const limit of LIMITS) if (limit.kind === "time") expect(ids).toContain(limit.id);
});

describe("a limit of time", () => {
  test("is the ratio of medians, against the tool that it names", () => {
    const tuned = tool({ name: "qemu-img 11.1.3 -m 8 -W", kind: "tuned", seconds: [3, 4, 5] });
    const results = resultsOf({
      id: "raw-to-deflate",
      tools: [ours([2, 1, 9]), qemu([8, 10, 10]), tool({ name: "other", kind: "qemu", seconds: [1] }), tuned],
    });
    const found = find(measureLimits(results, undefined), "convert -c, deflate");
    expect(found.map(({ measured, against }) => [against, measured])).toEqual([
      ["qemu-img 10.0.13", 0.2],
      ["qemu-img 11.1.3 -m 8 -W", 0.5],
    ]);
    expect(found.map(isMet)).toEqual([true, true]);
    expect(found.map(limitRow).map((row) => row.length)).toEqual([
      LIMIT_HEADINGS.length,
      LIMIT_HEADINGS.length,
    ]);
  });

  test("without the start of each tool, where that does not count", () => {
    const start = { id: "start", tools: [ours([0.1, 0.1]), qemu([0.01, 0.01])] };
    const results = resultsOf(start, { id: "preallocated-check", tools: [ours([0.25]), qemu([0.11])] });
    const [check] = find(measureLimits(results, undefined), "check a preallocated image");
    expect(check?.measured).toBeCloseTo(1.5, 10);
    // What takes no longer than starting cannot be told from it.
    const short = resultsOf(start, { id: "preallocated-check", tools: [ours([0.25]), qemu([0.01])] });
    const [unknown] = find(measureLimits(short, undefined), "check a preallocated image");
    expect(unknown?.measured).toBeUndefined();
    expect(unknown && isMet(unknown)).toBeUndefined();
  });

  test("against the runtime of the same version", () => {
    const runtime = (node: string, seconds: readonly number[]): ToolResult =>
      tool({ name: `node -e 0, Node.js ${node}`, kind: "runtime", node, seconds });
    const tools = [ours([3]), ours([3], "24.1.0"), runtime("20.20.2", [2]), runtime("24.1.0", [1])];
    const found = find(measureLimits(resultsOf({ id: "info", tools }), undefined), "info");
    expect(found.map(({ measured }) => measured)).toEqual([1.5, 3]);
    expect(found.map(isMet)).toEqual([true, false]);
  });

  test("says why it was not measured", () => {
    const results = resultsOf({
      id: "raw-to-zstd",
      tools: [qemu([1])],
      leftOut: ["qcow2 on Node.js 20.20.2: this runtime cannot", "another: does not"],
    });
    const limits = measureLimits(results, undefined);
    expect(find(limits, "convert -c, zstd")).toMatchObject([
      { subject: "qcow2 on Node.js 20.20.2", measured: undefined, note: "this runtime cannot" },
    ]);
    expect(find(limits, "info")).toMatchObject([{ measured: undefined, note: "the case was not run" }]);
    expect(limitsInWords(limits)).toContain("0 of");
  });
});

test("what came out stands beside the time that it took", () => {
  const tools = [
    { ...ours([1]), outputBytes: 3 * MIB },
    { ...qemu([1]), outputBytes: 2 * MIB },
  ];
  const found = find(measureLimits(resultsOf({ id: "raw-to-zstd", tools }), undefined), "convert -c, zstd");
  expect(found).toMatchObject([{ measured: 1, note: "output × 1.50" }]);
});

test("memory is the largest peak of any case, and of ours alone", () => {
  const peak = (bytes: number): ToolResult => ({ ...ours([1, 1]), peakBytes: [MIB, bytes] });
  const theirs = { ...qemu([1]), peakBytes: [900 * MIB] };
  const results = resultsOf(
    { id: "one", tools: [peak(257 * MIB), theirs] },
    { id: "two", tools: [peak(9 * MIB)] },
  );
  const found = find(measureLimits(results, undefined), "peak memory, any case");
  expect(found).toMatchObject([{ measured: 257 * MIB, note: "title of one" }]);
  expect(found.map(isMet)).toEqual([false]);
});

test("the engine's limit is that of its own case", () => {
  const random = {
    subject: "allocated",
    request: "read",
    order: "random",
    bytes: 4096,
    requests: 1,
  } as const;
  const engine: EngineResults = {
    schema: 1,
    date: "2026-01-02T03:04:05.000Z",
    machine: MACHINE,
    node: "20.20.2",
    sizeBytes: 64 * MIB,
    seed: 1,
    cases: [
      { ...random, depth: 1, rawSeconds: [1, 1, 1], engineSeconds: [1.05, 1.2, 1] },
      { ...random, subject: "overlay", depth: 16, rawSeconds: [1], engineSeconds: [1] },
    ],
    costs: [],
  };
  const limits = measureLimits(resultsOf({ id: "one", tools: [] }), engine);
  expect(find(limits, "random 4 KiB reads through the engine, depth 1")).toMatchObject([{ measured: 1.05 }]);
  expect(find(limits, "random 4 KiB reads through the engine, depth 16")).toMatchObject([
    { measured: undefined },
  ]);
});

test("a change is compared with its base, for the same Node.js", () => {
  const base = (seconds: readonly number[]): ToolResult =>
    tool({ name: "qcow2 (base) on Node.js 20.20.2", kind: "base", node: "20.20.2", seconds });
  const summary = baseSummary(
    resultsOf(
      { id: "slow", tools: [ours([2, 2, 2]), base([1, 1, 1]), qemu([1])] },
      { id: "fast", tools: [ours([1, 1, 1]), base([2, 2, 2])] },
      { id: "same", tools: [ours([1, 1, 1]), base([1.01, 1, 1])] },
      {
        id: "new",
        tools: [ours([1, 1, 1])],
        leftOut: ["qcow2 (base) on Node.js 20.20.2, new: ended with 1: no"],
      },
    ),
  );
  expect(summary).toContain("3 comparisons: 1 slower, 1 faster, 1 without a clear difference.");
  expect(summary).toContain(
    "| title of slow, Node.js 20.20.2 | 1.00 s (1.00 s to 1.00 s) | 2.00 s (2.00 s to 2.00 s) | 2.00 | **slower** | 100 MiB | 100 MiB |",
  );
  expect(summary).toContain("Left out: qcow2 (base) on Node.js 20.20.2, new");
  expect(summary).not.toContain("qemu-img");
});
