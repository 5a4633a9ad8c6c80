import { rm } from "node:fs/promises";
import { join } from "node:path";
import { execa } from "execa";
import type { BenchmarkCase } from "../cases/cases.ts";
import { inputsOf } from "../cases/jobs.ts";
import { type Contestant, isCommand } from "../contestants/contestant.ts";
import type { ImageTool, InputPaths } from "../inputs/input-kind.ts";
import { allocated, warm } from "../inputs/input-store.ts";
import type { CommandLine, Measurement, Meter } from "../measure/measure-process.ts";
import { rotate } from "../measure/statistics.ts";
import type { CaseResult } from "../results.ts";
import { prepareMemory } from "./prepare-memory.ts";
import { Judge, WrongResult } from "./verify.ts";

export interface CaseOptions {
  readonly benchmark: BenchmarkCase;
  readonly contestants: readonly Contestant[];
  /** Judges the results. */
  readonly judge: ImageTool;
  readonly inputs: InputPaths;
  readonly meter: Meter;
  readonly runs: number;
  /** Where outputs are written. */
  readonly folder: string;
  onRun(run: { readonly contestant: Contestant; readonly number: number; readonly seconds: number }): void;
}

interface Entry {
  readonly contestant: Contestant;
  readonly command: CommandLine;
  readonly columns: Columns;
}

/**
 * Runs all tools in turn, as often as wanted, each time starting with another. Before each run the last
 * output is gone, what was left to write is on the disk, the inputs are in the page cache, and there is memory in use
 * for the output; each result is judged, outside of the time measured.
 *
 * @throws WrongResult, but not for the base's: what it does wrong may be what is being mended, and it is left out
 */
export async function runCase(options: CaseOptions): Promise<CaseResult> {
  const { benchmark, inputs, runs, folder } = options;
  const output = join(folder, "output");
  const { entries, leftOut } = chooseContestants(options, output);
  const judge = new Judge({ tool: options.judge, inputs, benchmark });
  const failed = new Set<Entry>();
  const names = inputsOf(benchmark.job);
  for (let number = 0; number < runs; number++) {
    for (const entry of rotate(entries, number)) {
      if (failed.has(entry)) continue;
      try {
        await settle(entry, { benchmark, folder, inputs: names.map((name) => inputs[name]) });
        await runOnce(entry, { ...options, judge, output, number });
      } catch (error) {
        if (!(error instanceof WrongResult) || entry.contestant.kind !== "base") throw error;
        failed.add(entry);
        leftOut.push(error.message);
      } finally {
        await rm(output, { force: true });
      }
    }
  }
  return {
    id: benchmark.id,
    title: benchmark.title,
    tools: entries
      .filter((entry) => !failed.has(entry))
      .map(({ contestant: { name, kind, node }, columns }) => ({ name, kind, node, ...columns })),
    leftOut,
  };
}

function chooseContestants(
  { benchmark, contestants, inputs }: CaseOptions,
  output: string,
): { readonly entries: readonly Entry[]; readonly leftOut: string[] } {
  const entries: Entry[] = [];
  const leftOut: string[] = [];
  for (const contestant of contestants) {
    const command = contestant.commandFor(benchmark.job, { inputs, output });
    if (isCommand(command)) entries.push({ contestant, command, columns: emptyColumns() });
    else if (command !== undefined) leftOut.push(`${contestant.name}: ${command.leftOut}`);
  }
  return { entries, leftOut };
}

async function runOnce(
  { contestant, command, columns }: Entry,
  options: Pick<CaseOptions, "benchmark" | "meter" | "onRun"> & {
    readonly judge: Judge;
    readonly output: string;
    readonly number: number;
  },
): Promise<void> {
  const { benchmark, judge, meter, output, number } = options;
  const result = await meter.measure(command);
  await judge.verify(contestant, output, result);
  record(columns, result);
  if (benchmark.job.kind === "convert") columns.outputBytes = await allocated(output);
  options.onRun({ contestant, number, seconds: result.seconds });
}

/** Whatever ran before, the next tool finds the machine in the same state. */
async function settle(
  { columns }: Entry,
  {
    benchmark,
    folder,
    inputs,
  }: {
    readonly benchmark: BenchmarkCase;
    readonly folder: string;
    readonly inputs: readonly string[];
  },
): Promise<void> {
  // One tool's writing must not fall into the next one's time.
  await execa("sync", [], { reject: false, stdin: "ignore" });
  for (const input of inputs) await warm(input);
  if (benchmark.job.kind !== "convert") return;
  // In a tool's first run, how much it writes is a guess; a median is not made of that one.
  const bytes = columns.outputBytes ?? Math.max(...(await Promise.all(inputs.map(allocated))));
  await prepareMemory(join(folder, "scratch"), bytes);
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
