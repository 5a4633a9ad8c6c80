/** The options of the command `bench`. */
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { CASES } from "./cases/cases.ts";
import { parseCount, parseSize } from "./command-line.ts";
import { DEFAULT_ROUNDS } from "./engine/print-engine.ts";
import type { Recipe } from "./inputs/input-kind.ts";
import { REPOSITORY } from "./repository.ts";

/** Among the names of cases: the benchmark of the engine. */
const ENGINE = "engine";

/** What options are if they are not given, by preset. */
const DEFAULTS = {
  full: { runs: "5", size: "4G", data: "1G", full: "4G", qemu: "all", rounds: DEFAULT_ROUNDS },
  quick: { runs: "3", size: "1G", data: "128M", full: "512M", qemu: "10.0", rounds: 5 },
} as const;

export const BENCH_HELP: string = `Usage: npm run bench -- [OPTIONS]

Runs our command, qemu-img of the releases found, cp, and @xen-orchestra/qcow2 in turn on the same disks, as whole
processes; judges every result with qemu-img; prints medians, ranges, processor time and peak memory, and which limits
are kept; writes all of it as JSON. Then the engine beside a raw file, as "npm run engine -w @qcow2/benchmarks" does.

By default that takes about an hour on two processors, and 16 GiB of space and of memory; --quick takes some minutes,
and 3 GiB.

  --quick          3 runs, small disks, only the reference release of qemu-img; options below say otherwise
  --runs N         runs of each tool for each case (default 5)
  --cases LIST     ${inLines([...CASES.map(({ id }) => id), ENGINE])}
  --seed N         disks are generated (default seed 1):
  --size SIZE        an operating system's disk of this size (default 4G)
  --data SIZE        with this much data (default 1G)
  --full SIZE        a disk full of noise (default 4G)
  --sparse SIZE      an empty disk, and an image with preallocated metadata (default 1T)
  --preallocated SIZE  of which this much is preallocated (default 100G)
  --disk FILE      a raw disk to use in place of the operating system's; it is only read
  --qemu LIST      releases, as 10.0,7.2 or all (default all; the reference release always takes part)
  --node FILE      also run our command on this Node.js; may be given several times
  --compare-with DIR  also run the command of another checkout, which is built, as "base"
  --work DIR       where disks are made, and removed in the end (default .cache/benchmarks)
  --json FILE      the results (default DIR/results.json)
  --summary FILE   append a short comparison with "base", in Markdown
  --update         also write the results into BENCHMARKS.md
`;

export interface BenchCommand {
  readonly recipe: Recipe;
  readonly runs: number;
  /** Ids; undefined for all. Empty if only the engine is wanted. */
  readonly cases: readonly string[] | undefined;
  readonly engineRounds: number | undefined;
  readonly qemu: readonly string[];
  readonly nodes: readonly string[];
  readonly compareWith: string | undefined;
  readonly work: string;
  readonly json: string;
  readonly summary: string | undefined;
  readonly update: boolean;
}

/** @returns "help" if that is wanted @throws RangeError, or what parseArgs throws */
export function parseBenchArguments(args: readonly string[]): BenchCommand | "help" {
  const { values } = parseArgs({
    args: [...args],
    options: {
      quick: { type: "boolean", default: false },
      runs: { type: "string" },
      cases: { type: "string" },
      seed: { type: "string", default: "1" },
      size: { type: "string" },
      data: { type: "string" },
      full: { type: "string" },
      sparse: { type: "string", default: "1T" },
      preallocated: { type: "string", default: "100G" },
      disk: { type: "string" },
      qemu: { type: "string" },
      node: { type: "string", multiple: true, default: [] },
      "compare-with": { type: "string" },
      work: { type: "string" },
      json: { type: "string" },
      summary: { type: "string" },
      update: { type: "boolean", default: false },
      help: { type: "boolean", short: "h", default: false },
    },
  });
  if (values.help) return "help";
  if (values.update && (values.cases !== undefined || values.quick)) {
    throw new RangeError(
      "--update needs all cases, and not --quick: BENCHMARKS.md shows what was measured together",
    );
  }
  if (values.summary !== undefined && values["compare-with"] === undefined) {
    throw new RangeError("--summary needs --compare-with");
  }
  const defaults = DEFAULTS[values.quick ? "quick" : "full"];
  const work = values.work === undefined ? join(REPOSITORY, ".cache/benchmarks") : resolve(values.work);
  const wanted = values.cases?.split(",");
  return {
    recipe: {
      seed: parseCount("seed", values.seed, 0),
      sizes: {
        disk: parseSize("size", values.size ?? defaults.size),
        diskData: parseSize("data", values.data ?? defaults.data),
        full: parseSize("full", values.full ?? defaults.full),
        sparse: parseSize("sparse", values.sparse),
        preallocated: parseSize("preallocated", values.preallocated),
      },
      diskFile: values.disk,
    },
    runs: parseCount("runs", values.runs ?? defaults.runs, 1),
    cases: wanted?.filter((id) => id !== ENGINE),
    engineRounds: wanted === undefined || wanted.includes(ENGINE) ? defaults.rounds : undefined,
    qemu: (values.qemu ?? defaults.qemu).split(","),
    nodes: [process.execPath, ...values.node],
    compareWith: values["compare-with"] === undefined ? undefined : resolve(values["compare-with"]),
    work,
    json: values.json === undefined ? join(work, "results.json") : resolve(values.json),
    summary: values.summary === undefined ? undefined : resolve(values.summary),
    update: values.update,
  };
}

/** Names with commas, in lines that stand under the first. */
function inLines(names: readonly string[]): string {
  const lines: string[] = [""];
  for (const name of names) {
    const last = lines.at(-1)!;
    if (last !== "" && last.length + name.length > 90) lines.push(name);
    else lines[lines.length - 1] = last === "" ? name : `${last}, ${name}`;
  }
  return lines.join(`,\n${" ".repeat(19)}`);
}
