import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { findMeter } from "../measure/measure-process.ts";
import type { BenchmarkResults, CaseResult } from "../results.ts";
import { type BenchmarkCase, CASES } from "./cases.ts";
import { type Contestant, findCopy, findOurs, findQemuImg } from "./contestants.ts";
import { describeMachine } from "./machine.ts";
import { type DiskChoice, prepareInputs } from "./prepare-inputs.ts";
import { runCase } from "./run-case.ts";

export interface BenchmarkOptions {
  readonly disk: DiskChoice;
  /** At least 1. */
  readonly runs: number;
  /** Ids; undefined for all. */
  readonly cases: readonly string[] | undefined;
  /** Minor versions, or "all"; undefined for the reference and the newest. */
  readonly qemu: readonly string[] | undefined;
  /** Node.js programs that our command runs on. */
  readonly nodes: readonly string[];
  /** A folder for disks; they are removed in the end. */
  readonly work: string;
  onMessage(message: string): void;
  onCase(result: CaseResult): void;
}

/** @throws RangeError for options that cannot be, WrongResult */
export async function runBenchmarks(options: BenchmarkOptions): Promise<BenchmarkResults> {
  const cases = chooseCases(options.cases);
  const contestants = await findContestants(options);
  const maker = contestants.find(({ kind }) => kind === "qemu") ?? contestants[0]!;
  const meter = await findMeter();
  mkdirSync(options.work, { recursive: true });
  const folder = mkdtempSync(join(options.work, "run-"));
  const cleanUp = (): void => rmSync(folder, { recursive: true, force: true });
  // Gigabytes must not stay behind when the benchmark is stopped.
  const stop = (): void => {
    cleanUp();
    process.exit(130);
  };
  process.on("SIGINT", stop).on("SIGTERM", stop);
  try {
    const machine = await describeMachine(folder);
    options.onMessage("Making the disks ...");
    const names = new Set(cases.flatMap(({ reads }) => reads));
    const inputs = await prepareInputs({ folder, disk: options.disk, maker, names });
    const results: CaseResult[] = [];
    for (const benchmark of cases) {
      const result = await runCase({
        benchmark,
        contestants,
        judge: { tool: maker, inputs: inputs.paths },
        meter,
        runs: options.runs,
        folder,
        onRun: ({ contestant, number, seconds }) =>
          options.onMessage(`${benchmark.id}, run ${number + 1}: ${contestant.name} ${seconds.toFixed(3)} s`),
      });
      results.push(result);
      options.onCase(result);
    }
    return {
      schema: 1,
      date: new Date().toISOString(),
      runs: options.runs,
      machine,
      disk: inputs.disk,
      meter: meter.method,
      judge: maker.name,
      cases: results,
    };
  } finally {
    process.off("SIGINT", stop).off("SIGTERM", stop);
    cleanUp();
  }
}

function chooseCases(wanted: readonly string[] | undefined): readonly BenchmarkCase[] {
  if (wanted === undefined) return CASES;
  const unknown = wanted.find((id) => !CASES.some((benchmark) => benchmark.id === id));
  if (unknown !== undefined) {
    throw new RangeError(`no case '${unknown}'; there are ${CASES.map(({ id }) => id).join(", ")}`);
  }
  return CASES.filter(({ id }) => wanted.includes(id));
}

async function findContestants({ nodes, qemu }: BenchmarkOptions): Promise<readonly Contestant[]> {
  const ours: Contestant[] = [];
  for (const node of nodes) ours.push(await findOurs(node));
  const copy = await findCopy();
  return [...ours, ...(await findQemuImg(qemu)), ...(copy === undefined ? [] : [copy])];
}
