/** Runs the engine's benchmark for a command: prints its tables, and writes its results where they belong. */
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { plainTable } from "../report/table.ts";
import { REPOSITORY } from "../repository.ts";
import { costTable, ENGINE_HEADINGS, engineRow, replaceEngineResults, verdictOf } from "./engine-report.ts";
import type { EngineResults } from "./engine-results.ts";
import { type EngineBenchmarkOptions, runEngineBenchmark } from "./run-engine-benchmark.ts";

export const DEFAULT_ROUNDS = 31;
export const DEFAULT_SIZE: number = 256 * 2 ** 20;

export async function printEngineBenchmark(
  options: Omit<EngineBenchmarkOptions, "onCase"> & {
    /** Where the results go. */
    readonly json: string;
    /** Also into BENCHMARKS.md. */
    readonly update: boolean;
  },
): Promise<EngineResults> {
  const results = await runEngineBenchmark({
    ...options,
    onCase: (result) => process.stderr.write(`${engineRow(result).slice(0, 5).join("  ")}\n`),
  });
  const tables = [
    plainTable([ENGINE_HEADINGS, ...results.cases.map(engineRow)]),
    plainTable(costTable(results.costs)),
  ];
  process.stdout.write(
    `\n${tables.join("\n\n")}\n\n${verdictOf(results.cases)}\n\nResults: ${options.json}\n`,
  );
  await mkdir(dirname(options.json), { recursive: true });
  await writeFile(options.json, `${JSON.stringify(results, null, 2)}\n`);
  if (options.update) {
    const document = join(REPOSITORY, "BENCHMARKS.md");
    await writeFile(document, replaceEngineResults(await readFile(document, "utf8"), results));
  }
  return results;
}
