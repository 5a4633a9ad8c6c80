import { rm } from "node:fs/promises";
import { join } from "node:path";
import { execa } from "execa";
import type { CommandLine, Measurement, Meter } from "../measure/measure-process.ts";
import { rotate } from "../measure/statistics.ts";
import type { CaseResult } from "../results.ts";
import type { BenchmarkCase } from "./cases.ts";
import type { Contestant } from "./contestants.ts";
import { allocated, warm } from "./prepare-inputs.ts";
import { type Judge, verify } from "./verify.ts";

export interface CaseOptions {
  readonly benchmark: BenchmarkCase;
  readonly contestants: readonly Contestant[];
  readonly judge: Judge;
  readonly meter: Meter;
  readonly runs: number;
  /** Where outputs are written. */
  readonly folder: string;
  onRun(run: { readonly contestant: Contestant; readonly number: number; readonly seconds: number }): void;
}

/**
 * Runs all tools in turn, as often as wanted, each time starting with another. Inputs are in the page cache; before
 * each run the last output is gone and what was left to write is on the disk; each result is judged, outside of the
 * time measured.
 *
 * @throws WrongResult
 */
export async function runCase(options: CaseOptions): Promise<CaseResult> {
  const { benchmark, judge, meter, runs, folder, onRun } = options;
  const { taking, leftOut } = chooseContestants(benchmark, options.contestants);
  const measured = new Map(taking.map((contestant) => [contestant, emptyColumns()]));
  for (const name of benchmark.reads) await warm(judge.inputs[name]);
  const output = join(folder, `output.${benchmark.writes ?? "none"}`);
  for (let number = 0; number < runs; number++) {
    for (const contestant of rotate(taking, number)) {
      await flushEverything();
      const result = await meter.measure(commandLine(contestant, benchmark, judge, output));
      await verify(judge, { benchmark, contestant, output }, result);
      const columns = measured.get(contestant)!;
      record(columns, result);
      if (benchmark.writes !== undefined) {
        columns.outputBytes = await allocated(output);
        await rm(output);
      }
      onRun({ contestant, number, seconds: result.seconds });
    }
  }
  return {
    id: benchmark.id,
    title: benchmark.title,
    tools: taking.map((contestant) => ({
      name: contestant.name,
      kind: contestant.kind,
      ...measured.get(contestant)!,
    })),
    leftOut,
  };
}

function chooseContestants(
  benchmark: BenchmarkCase,
  contestants: readonly Contestant[],
): { readonly taking: readonly Contestant[]; readonly leftOut: readonly string[] } {
  const candidates = contestants.filter(({ kind }) => kind !== "copy" || benchmark.hasFloor === true);
  const canTake = ({ writesZstd }: Contestant): boolean => benchmark.compression !== "zstd" || writesZstd;
  return {
    taking: candidates.filter(canTake),
    leftOut: candidates
      .filter((contestant) => !canTake(contestant))
      .map(({ name }) => `${name}: this runtime cannot compress zstd (Node.js 22.15 and newer can)`),
  };
}

function commandLine(
  { kind, command }: Contestant,
  benchmark: BenchmarkCase,
  { inputs }: Judge,
  output: string,
): CommandLine {
  const args = kind === "copy" ? [inputs.raw, output] : benchmark.args(inputs, output);
  return [...command, ...args];
}

/** One tool's writing must not fall into the next one's time. */
async function flushEverything(): Promise<void> {
  await execa("sync", [], { reject: false, stdin: "ignore" });
}

interface Columns {
  readonly seconds: number[];
  readonly cpuSeconds: number[];
  readonly peakBytes: number[];
  outputBytes: number | undefined;
}

function emptyColumns(): Columns {
  return { seconds: [], cpuSeconds: [], peakBytes: [], outputBytes: undefined };
}

function record(columns: Columns, { seconds, cpuSeconds, peakBytes }: Measurement): void {
  columns.seconds.push(seconds);
  if (cpuSeconds !== undefined) columns.cpuSeconds.push(cpuSeconds);
  if (peakBytes !== undefined) columns.peakBytes.push(peakBytes);
}
