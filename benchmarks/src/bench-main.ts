/** The command `bench`: see its help. */
import { appendFile, mkdir, readFile, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { BENCH_HELP, type BenchCommand, parseBenchArguments } from "./bench-options.ts";
import { isUsageError } from "./command-line.ts";
import { findContestants } from "./contestants/find-contestants.ts";
import type { EngineResults } from "./engine/engine-results.ts";
import { DEFAULT_SIZE, printEngineBenchmark } from "./engine/print-engine.ts";
import { measureLimits } from "./limits/measure-limits.ts";
import { baseSummary } from "./report/base-summary.ts";
import { compareTools } from "./report/compare-tools.ts";
import { LIMIT_HEADINGS, limitRow, limitsInWords } from "./report/limits-table.ts";
import { lossesInMarkdown, winsInMarkdown } from "./report/losses.ts";
import { replaceResults } from "./report/markdown.ts";
import { caseRows, HEADINGS, plainTable } from "./report/table.ts";
import { REPOSITORY } from "./repository.ts";
import type { BenchmarkResults, CaseResult } from "./results.ts";
import { runBenchmarks } from "./run/run-benchmarks.ts";
import { WrongResult } from "./run/verify.ts";

async function main(): Promise<void> {
  const command = parseBenchArguments(process.argv.slice(2));
  if (command === "help") {
    process.stdout.write(BENCH_HELP);
    return;
  }
  const results = command.cases?.length === 0 ? undefined : await benchProcesses(command);
  const engine = await benchEngine(command);
  if (results === undefined) return;
  printSummary(results, engine);
  process.stdout.write(`\nResults: ${command.json}\n`);
  if (command.summary !== undefined) await appendFile(command.summary, baseSummary(results));
  if (command.update) {
    const document = join(REPOSITORY, "BENCHMARKS.md");
    await writeFile(document, replaceResults(await readFile(document, "utf8"), results, engine));
  }
}

/** Whole processes: ours and theirs. */
async function benchProcesses(command: BenchCommand): Promise<BenchmarkResults> {
  const results = await runBenchmarks({
    ...command,
    contestants: await findContestants(command),
    onMessage: (message) => process.stderr.write(`${message}\n`),
    onCase: printCase,
  });
  await mkdir(dirname(command.json), { recursive: true });
  await writeFile(command.json, `${JSON.stringify(results, null, 2)}\n`);
  return results;
}

async function benchEngine(command: BenchCommand): Promise<EngineResults | undefined> {
  if (command.engineRounds === undefined) return undefined;
  return await printEngineBenchmark({
    rounds: command.engineRounds,
    sizeBytes: DEFAULT_SIZE,
    seed: command.recipe.seed,
    folder: tmpdir(),
    json: join(command.work, "engine.json"),
    update: command.update,
  });
}

function printCase(result: CaseResult): void {
  const rows = plainTable([HEADINGS, ...caseRows(result)]);
  const leftOut = result.leftOut.map((why) => `left out: ${why}\n`).join("");
  process.stdout.write(`\n${result.title}\n${rows}\n${leftOut}\n`);
}

function printSummary(results: BenchmarkResults, engine: EngineResults | undefined): void {
  const comparisons = compareTools(results);
  const limits = measureLimits(results, engine);
  const sections = [
    ["Where we lose", lossesInMarkdown(comparisons)],
    ["Where we win", winsInMarkdown(comparisons)],
    ["Limits", `${limitsInWords(limits)}\n\n${plainTable([LIMIT_HEADINGS, ...limits.map(limitRow)])}`],
  ];
  for (const [heading, text] of sections) process.stdout.write(`\n## ${heading}\n\n${text}\n`);
}

try {
  await main();
} catch (error) {
  const expected = error instanceof WrongResult || error instanceof RangeError || isUsageError(error);
  if (!expected) throw error;
  console.error(`bench: ${error.message}`);
  process.exitCode = 1;
}
