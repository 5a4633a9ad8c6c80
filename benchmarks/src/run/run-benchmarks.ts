import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { type BenchmarkCase, chooseCases } from "../cases/cases.ts";
import { inputsOf } from "../cases/jobs.ts";
import type { Contestants } from "../contestants/find-contestants.ts";
import { DISK_RECIPE } from "../disk/generate-disk.ts";
import { INPUTS, withWhatTheyNeed } from "../inputs/all-inputs.ts";
import type { InputSizes, Recipe } from "../inputs/input-kind.ts";
import { largestUse, scheduleInputs } from "../inputs/input-schedule.ts";
import { InputStore, requireSpace } from "../inputs/input-store.ts";
import { findMeter } from "../measure/measure-process.ts";
import type { BenchmarkResults, CaseResult } from "../results.ts";
import { describeMachine } from "./machine.ts";
import { runCase } from "./run-case.ts";

export interface BenchmarkOptions {
  readonly recipe: Recipe;
  /** At least 1. */
  readonly runs: number;
  /** Ids; undefined for all. */
  readonly cases: readonly string[] | undefined;
  readonly contestants: Contestants;
  /** A folder for disks; they are removed in the end. */
  readonly work: string;
  onMessage(message: string): void;
  onCase(result: CaseResult): void;
}

/** @throws RangeError for options that cannot be, WrongResult */
export async function runBenchmarks(options: BenchmarkOptions): Promise<BenchmarkResults> {
  const { recipe, contestants, runs, work, onMessage } = options;
  const cases = chooseCases(options.cases);
  const schedule = scheduleInputs(cases.map(({ job }) => inputsOf(job)));
  const meter = await findMeter();
  mkdirSync(work, { recursive: true });
  const needed = largestUse(schedule, cases.map(outputBytes(recipe.sizes)), recipe.sizes);
  await requireSpace(work, needed);
  const folder = mkdtempSync(join(work, "run-"));
  const cleanUp = (): void => rmSync(folder, { recursive: true, force: true });
  // Gigabytes must not stay behind when the benchmark is stopped.
  const stop = (): void => {
    cleanUp();
    process.exit(130);
  };
  process.on("SIGINT", stop).on("SIGTERM", stop);
  try {
    const machine = await describeMachine(folder);
    const store = new InputStore({ folder, recipe, tool: contestants.judge });
    const results: CaseResult[] = [];
    for (const [index, benchmark] of cases.entries()) {
      const { make, remove } = schedule[index]!;
      for (const name of make) {
        onMessage(`making ${INPUTS[name].title(recipe.sizes)} ...`);
        await store.make(name);
      }
      const result = await runCase({
        benchmark,
        contestants: contestants.all,
        judge: contestants.judge,
        inputs: store.paths,
        meter,
        runs,
        folder,
        onRun: ({ contestant, number, seconds }) =>
          onMessage(`${benchmark.id}, run ${number + 1}: ${contestant.name} ${seconds.toFixed(3)} s`),
      });
      for (const name of remove) await store.remove(name);
      results.push(result);
      options.onCase(result);
    }
    return {
      schema: 2,
      date: new Date().toISOString(),
      runs,
      machine,
      recipe: `recipe ${DISK_RECIPE}, seed ${recipe.seed}`,
      inputs: describeInputs(cases, recipe),
      meter: meter.method,
      judge: contestants.judge.name,
      cases: results,
    };
  } finally {
    process.off("SIGINT", stop).off("SIGTERM", stop);
    cleanUp();
  }
}

/** Of the largest output of a case: a tool that looks for no holes writes the whole size. */
function outputBytes(sizes: InputSizes): (benchmark: BenchmarkCase) => number {
  return ({ job }) => {
    if (job.kind !== "convert") return 0;
    const { content, bytes } = INPUTS[job.source];
    return content === "disk" ? sizes.disk : bytes(sizes);
  };
}

/** In a phrase each; conversions by what they were made of. */
function describeInputs(cases: readonly BenchmarkCase[], { sizes, diskFile }: Recipe): string[] {
  const made = withWhatTheyNeed(cases.flatMap(({ job }) => inputsOf(job))).map((name) => INPUTS[name]);
  return made
    .filter(({ isConversion }) => isConversion !== true)
    .map(({ name, title }) =>
      name === "disk" && diskFile !== undefined ? `the disk ${diskFile}` : title(sizes),
    );
}
