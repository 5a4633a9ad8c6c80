/** What the limits ask for, from the results of one run. */
import { titleOf } from "../engine/engine-cases.ts";
import { ratiosOf } from "../engine/engine-report.ts";
import type { EngineResults } from "../engine/engine-results.ts";
import { summarize } from "../measure/statistics.ts";
import type { BenchmarkResults, CaseResult, ToolResult } from "../results.ts";
import { type EngineLimit, LIMITS, type Limit, type MemoryLimit, type TimeLimit } from "./limits.ts";

export interface LimitResult {
  readonly limit: Limit;
  /** What was measured: "qcow2 on Node.js 20.20.2". */
  readonly subject: string;
  /** What it is compared with; undefined if with nothing. */
  readonly against: string | undefined;
  /** A ratio, or bytes of memory; undefined if it was not measured. */
  readonly measured: number | undefined;
  /** Why it was not measured, or how. */
  readonly note: string | undefined;
}

/** For each limit a result for each Node.js that ours ran on; one that says why if there is none. */
export function measureLimits(
  results: BenchmarkResults,
  engine: EngineResults | undefined,
): readonly LimitResult[] {
  return LIMITS.flatMap((limit) => {
    if (limit.kind === "engine") return [measureEngine(limit, engine)];
    return limit.kind === "memory" ? measureMemory(limit, results) : measureTime(limit, results);
  });
}

/** Undefined if it was not measured. */
export function isMet({ limit, measured }: LimitResult): boolean | undefined {
  return measured === undefined ? undefined : measured <= limit.atMost;
}

function measureTime(limit: TimeLimit, results: BenchmarkResults): readonly LimitResult[] {
  const found = results.cases.find(({ id }) => id === limit.id);
  if (found === undefined) return [notMeasured(limit, "the case was not run")];
  const ours = found.tools.filter(({ kind }) => kind === "ours");
  const leftOut = found.leftOut
    .filter((why) => why.startsWith("qcow2 on "))
    .map((why) => notMeasured(limit, why.slice(why.indexOf(": ") + 2), why.slice(0, why.indexOf(": "))));
  return [...ours.map((tool) => compareTimes(limit, results, found, tool)), ...leftOut];
}

function compareTimes(
  limit: TimeLimit,
  results: BenchmarkResults,
  found: CaseResult,
  ours: ToolResult,
): LimitResult {
  const theirs = found.tools.find(
    ({ kind, node }) => kind === limit.against && (kind !== "runtime" || node === ours.node),
  );
  if (theirs === undefined) return notMeasured(limit, "there was nothing to compare with", ours.name);
  const base = { limit, subject: ours.name, against: theirs.name };
  if (limit.startUpAside !== true) {
    return { ...base, measured: median(ours) / median(theirs), note: outputNote(ours, theirs) };
  }
  const [ourWork, theirWork] = [workOf(ours, results), workOf(theirs, results)];
  if (ourWork === undefined || theirWork === undefined) {
    return { ...base, measured: undefined, note: "the case 'start' was not run" };
  }
  if (theirWork <= 0) return { ...base, measured: undefined, note: "too short to tell from its start" };
  return { ...base, measured: Math.max(0, ourWork) / theirWork, note: "start-up aside" };
}

/** Less compression takes less time: what came out belongs beside it. */
function outputNote(ours: ToolResult, theirs: ToolResult): string | undefined {
  if (ours.outputBytes === undefined || !theirs.outputBytes) return undefined;
  return `output × ${(ours.outputBytes / theirs.outputBytes).toFixed(2)}`;
}

/** The tool's median less what it takes to start, in seconds; undefined if that was not measured. */
function workOf(tool: ToolResult, results: BenchmarkResults): number | undefined {
  const start = results.cases.find(({ id }) => id === "start")?.tools.find(({ name }) => name === tool.name);
  return start && median(tool) - median(start);
}

function median({ seconds }: ToolResult): number {
  return summarize(seconds).median;
}

function measureMemory(limit: MemoryLimit, { cases }: BenchmarkResults): readonly LimitResult[] {
  const peaks = new Map<string, { readonly bytes: number; readonly title: string }>();
  for (const { title, tools } of cases) {
    for (const { name, peakBytes } of tools.filter(({ kind }) => kind === "ours")) {
      const bytes = Math.max(0, ...peakBytes);
      if (bytes > (peaks.get(name)?.bytes ?? 0)) peaks.set(name, { bytes, title });
    }
  }
  if (peaks.size === 0) return [notMeasured(limit, "memory was not measured")];
  return [...peaks].map(([subject, { bytes, title }]) => ({
    limit,
    subject,
    against: undefined,
    measured: bytes,
    note: title,
  }));
}

function measureEngine(limit: EngineLimit, engine: EngineResults | undefined): LimitResult {
  const wanted = titleOf(limit.engineCase);
  const found = engine?.cases.find((result) => titleOf(result) === wanted);
  if (engine === undefined || found === undefined) return notMeasured(limit, "the engine was not measured");
  return {
    limit,
    subject: `the engine on Node.js ${engine.node}`,
    against: "a raw file",
    measured: ratiosOf(found).median,
    note: undefined,
  };
}

function notMeasured(limit: Limit, note: string, subject = ""): LimitResult {
  return { limit, subject, against: undefined, measured: undefined, note };
}
