/** The command `bench`: see its help. */
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { DEFAULT_ROUNDS, DEFAULT_SIZE, printEngineBenchmark } from "./engine/print-engine.ts";
import { replaceResults, resultsInMarkdown } from "./report/markdown.ts";
import { caseRows, HEADINGS, plainTable } from "./report/table.ts";
import { parseBytes } from "./report/units.ts";
import type { CaseResult } from "./results.ts";
import { CASES } from "./run/cases.ts";
import { REPOSITORY } from "./run/contestants.ts";
import { type BenchmarkOptions, runBenchmarks } from "./run/run-benchmarks.ts";
import { WrongResult } from "./run/verify.ts";

/** Among the names of cases: the benchmark of the engine. */
const ENGINE = "engine";

const HELP = `Usage: npm run bench -- [OPTIONS]

Runs our command, qemu-img of the releases found, and cp in turn on one disk, as whole processes; judges every result
with qemu-img; prints medians, ranges, processor time and peak memory; writes all of it as JSON. Then the engine beside
a raw file, as "npm run engine -w @qcow2/benchmarks" does.

  --runs N         runs of each tool for each case (default 5)
  --cases LIST     ${CASES.map(({ id }) => id).join(",\n                   ")},
                   ${ENGINE}
  --disk FILE      a raw disk to use; it is only read
  --seed N         otherwise a disk is generated (default seed 1)
  --size SIZE        of this size (default 4G)
  --data SIZE        with this much data (default 1G)
  --qemu LIST      releases, as 10.0,7.2 or all (default: 10.0 and the newest found)
  --node FILE      also run our command on this Node.js; may be given several times
  --work DIR       where disks are made, and removed in the end (default .cache/benchmarks)
  --json FILE      the results (default DIR/results.json)
  --update         also write the results into BENCHMARKS.md
`;

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      runs: { type: "string", default: "5" },
      cases: { type: "string" },
      disk: { type: "string" },
      seed: { type: "string", default: "1" },
      size: { type: "string", default: "4G" },
      data: { type: "string", default: "1G" },
      qemu: { type: "string" },
      node: { type: "string", multiple: true, default: [] },
      work: { type: "string" },
      json: { type: "string" },
      update: { type: "boolean", default: false },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  if (values.help) {
    process.stdout.write(HELP);
    return 0;
  }
  if (values.update && values.cases !== undefined) {
    throw new RangeError("--update needs all cases: BENCHMARKS.md shows what was measured together");
  }
  const work = values.work === undefined ? join(REPOSITORY, ".cache/benchmarks") : resolve(values.work);
  const wanted = values.cases?.split(",");
  const processCases = wanted?.filter((id) => id !== ENGINE);
  const options: BenchmarkOptions = {
    disk:
      values.disk === undefined
        ? {
            kind: "generated",
            seed: parseCount("seed", values.seed, 0),
            size: parseBytes(values.size),
            dataBytes: parseBytes(values.data),
          }
        : { kind: "file", path: values.disk },
    runs: parseCount("runs", values.runs, 1),
    cases: processCases,
    qemu: values.qemu?.split(","),
    nodes: [process.execPath, ...values.node],
    work,
    onMessage: (message) => process.stderr.write(`${message}\n`),
    onCase: printCase,
  };
  if (processCases === undefined || processCases.length > 0) await benchProcesses(options, values);
  if (wanted === undefined || wanted.includes(ENGINE)) {
    await printEngineBenchmark({
      rounds: DEFAULT_ROUNDS,
      sizeBytes: DEFAULT_SIZE,
      seed: parseCount("seed", values.seed, 0),
      folder: tmpdir(),
      json: join(work, "engine.json"),
      update: values.update,
    });
  }
  return 0;
}

/** Whole processes: ours and theirs. */
async function benchProcesses(
  options: BenchmarkOptions,
  values: { readonly json?: string | undefined; readonly update: boolean },
): Promise<void> {
  const results = await runBenchmarks(options);
  const json = values.json === undefined ? join(options.work, "results.json") : resolve(values.json);
  await mkdir(dirname(json), { recursive: true });
  await writeFile(json, `${JSON.stringify(results, null, 2)}\n`);
  process.stdout.write(
    `\n${resultsInMarkdown(results).split("\n## Measured")[0]!.trim()}\n\nResults: ${json}\n`,
  );
  if (values.update) {
    const document = join(REPOSITORY, "BENCHMARKS.md");
    await writeFile(document, replaceResults(await readFile(document, "utf8"), results));
  }
}

function parseCount(name: string, text: string, smallest: number): number {
  const count = /^\d+$/.test(text) ? Number(text) : Number.NaN;
  if (!(count >= smallest && count < 2 ** 32))
    throw new RangeError(`--${name} '${text}' is no number from ${smallest}`);
  return count;
}

function printCase(result: CaseResult): void {
  const rows = plainTable([HEADINGS, ...caseRows(result)]);
  const leftOut = result.leftOut.map((why) => `left out: ${why}\n`).join("");
  process.stdout.write(`\n${result.title}\n${rows}\n${leftOut}\n`);
}

try {
  process.exitCode = await main();
} catch (error) {
  const expected = error instanceof WrongResult || error instanceof RangeError || isUsageError(error);
  if (!expected) throw error;
  console.error(`bench: ${error.message}`);
  process.exitCode = 1;
}

function isUsageError(error: unknown): error is Error {
  return error instanceof Error && "code" in error && String(error.code).startsWith("ERR_PARSE_ARGS");
}
