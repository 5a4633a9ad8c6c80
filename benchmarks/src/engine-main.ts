/** The command `engine`: see its help. */
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { isUsageError, parseCount } from "./command-line.ts";
import { DEFAULT_ROUNDS, DEFAULT_SIZE, printEngineBenchmark } from "./engine/print-engine.ts";
import { formatBytes, parseBytes } from "./report/units.ts";
import { REPOSITORY } from "./repository.ts";
import { WrongResult } from "./run/verify.ts";

const HELP = `Usage: npm run engine -w @qcow2/benchmarks [-- OPTIONS]

Runs the same requests through the engine and on a raw file, through the same storage, in turn in one process; prints
the ratio of their times, and how many storage operations requests cost.

  --rounds N       rounds of each case (default ${DEFAULT_ROUNDS})
  --size SIZE      of both disks, a multiple of 1M (default ${formatBytes(DEFAULT_SIZE)})
  --seed N         where requests go (default 1)
  --only TEXT      only cases whose title contains it: "random 4 KiB read"
  --folder DIR     where disks are made, and removed in the end (default: ${tmpdir()})
  --json FILE      the results (default .cache/benchmarks/engine.json)
  --update         also write the results into BENCHMARKS.md
`;

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      rounds: { type: "string", default: String(DEFAULT_ROUNDS) },
      size: { type: "string", default: String(DEFAULT_SIZE) },
      seed: { type: "string", default: "1" },
      only: { type: "string" },
      folder: { type: "string", default: tmpdir() },
      json: { type: "string", default: join(REPOSITORY, ".cache/benchmarks/engine.json") },
      update: { type: "boolean", default: false },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  if (values.help) {
    process.stdout.write(HELP);
    return 0;
  }
  if (values.update && values.only !== undefined) {
    throw new RangeError("--update needs all cases: BENCHMARKS.md shows what was measured together");
  }
  const sizeBytes = parseBytes(values.size);
  if (sizeBytes % 2 ** 20 !== 0 || sizeBytes < 64 * 2 ** 20) {
    throw new RangeError("--size must be a multiple of 1M, and at least 64M");
  }
  const from = process.env.INIT_CWD ?? ".";
  await printEngineBenchmark({
    rounds: parseCount("rounds", values.rounds, 1),
    sizeBytes,
    seed: parseCount("seed", values.seed, 0),
    only: values.only,
    folder: resolve(from, values.folder),
    json: resolve(from, values.json),
    update: values.update,
  });
  return 0;
}

try {
  process.exitCode = await main();
} catch (error) {
  const expected = error instanceof WrongResult || error instanceof RangeError || isUsageError(error);
  if (!expected) throw error;
  console.error(`engine: ${error.message}`);
  process.exitCode = 1;
}
