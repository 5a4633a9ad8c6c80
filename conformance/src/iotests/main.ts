/** `npm run iotests -w @qcow2/conformance`: see `HELP`. */
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { readCommandLine } from "../command-line.ts";
import { findQemuReleases, REFERENCE_MINOR } from "../qemu-release.ts";
import { QEMU_CACHE } from "../repository.ts";
import { missingFor } from "../requirement.ts";
import { type CaseRecord, type OurPass, type Results, readResults, writeResults } from "./results.ts";
import { type CaseReport, runCase } from "./run-case.ts";
import {
  caseName,
  hasOutputFor,
  listScripts,
  parseCaseName,
  sourceVersion,
  type TestCase,
} from "./source.ts";
import { countsOf, writeTable } from "./table.ts";
import { Toolbox } from "./tools.ts";

const PASSES: Readonly<Record<string, readonly OurPass[]>> = {
  img: ["img"],
  io: ["io"],
  both: ["img", "io"],
};
const LOGS = join(QEMU_CACHE, "iotests-logs");

const HELP = `Usage: npm run iotests -w @qcow2/conformance -- [options] [NAME...]

QEMU's own test scripts with our command in place of qemu-img (pass "img"), and of qemu-io too (pass "io"). Without
names, all of them. Ends with 1 if a case fails that is recorded as passing.

  --pass img|io|both  (default both)
  --update            record what came out, and write the table
  --jobs N            scripts at a time (default 2)
  --timeout SECONDS   for each script (default 600)
  --help              this text`;

const { values, positionals } = readCommandLine({
  help: HELP,
  allowPositionals: true,
  options: {
    pass: { type: "string", default: "both" },
    update: { type: "boolean", default: false },
    jobs: { type: "string", default: "2" },
    timeout: { type: "string", default: "600" },
  },
});
process.exitCode = await main();

async function main(): Promise<number> {
  const passes = PASSES[values.pass];
  const timeoutMs = Number(values.timeout) * 1000;
  const jobs = Number(values.jobs);
  if (passes === undefined || !(timeoutMs > 0) || !(jobs > 0)) {
    console.error(
      "--pass is img, io or both; --jobs and --timeout (seconds for one pass of a script) are numbers",
    );
    return 1;
  }
  const source = sourceVersion();
  const missing =
    source === undefined
      ? "no test scripts (run node conformance/scripts/install-iotests.mjs)"
      : await missingFor({});
  if (source === undefined || missing !== undefined) {
    console.error(missing);
    return 1;
  }
  const recorded = readResults();
  const release = (await findQemuReleases()).find(({ minor }) => minor === REFERENCE_MINOR)!;
  using toolbox = new Toolbox(release);
  mkdirSync(LOGS, { recursive: true });
  const cases: Record<string, CaseRecord> = { ...recorded.cases };
  const worse: string[] = [];
  await inParallel(
    positionals.length > 0 ? positionals.map(parseCaseName) : allCases(),
    jobs,
    async (test) => {
      const name = caseName(test);
      const report = await runCase(test, { toolbox, passes, timeoutMs });
      const before = recorded.cases[name];
      cases[name] =
        report.record.leftOut === undefined ? { ...results(before), ...report.record } : report.record;
      saveLogs(name, passes, report);
      // A long run that is stopped keeps what it has found out.
      if (values.update) writeResults({ source, cases });
      const lost = passes.filter(
        (pass) => before?.[pass]?.passed === true && report.record[pass]?.passed !== true,
      );
      if (lost.length > 0) worse.push(name);
      console.log(
        `${name.padEnd(12)} ${describe(report.record, passes)}${lost.length > 0 ? "  <- passed before" : ""}`,
      );
    },
  );
  const updated: Results = { source, cases };
  if (values.update) writeTable(updated);
  const { run, imgPassed, ioPassed, leftOut } = countsOf(updated);
  console.log(
    `${run} run, ${imgPassed} pass with our qemu-img, ${ioPassed} with our qemu-io too, ${leftOut} left out`,
  );
  if (worse.length > 0)
    console.error(`passed before, and do not now: ${worse.sort().join(" ")}; see ${LOGS}`);
  return worse.length > 0 ? 1 : 0;
}

/** Every script with qcow2; those that do not apply to it, or that expect something else of raw, with raw. */
function allCases(): readonly TestCase[] {
  const scripts = listScripts();
  return [
    ...scripts.map((script): TestCase => ({ script, format: "qcow2" })),
    ...scripts.map((script): TestCase => ({ script, format: "raw" })).filter(hasOutputFor),
  ];
}

/** Only what the passes that do not run now have recorded. */
function results(record: CaseRecord | undefined): CaseRecord {
  const { leftOut: _, ...rest } = record ?? {};
  return rest;
}

function describe(record: CaseRecord, passes: readonly OurPass[]): string {
  if (record.leftOut !== undefined) return `left out: ${record.leftOut}`;
  return passes
    .map((pass) => `${pass}: ${record[pass]?.passed === true ? "pass" : "fail"} (${record[pass]?.seconds} s)`)
    .join(", ");
}

/** The differences of failed passes, for whoever mends them; in the cache, because they quote what QEMU expects. */
function saveLogs(name: string, passes: readonly OurPass[], { logs }: CaseReport): void {
  for (const pass of passes) {
    const file = join(LOGS, `${name.replace(":", "-")}.${pass}.log`);
    const log = logs[pass];
    if (log === undefined) rmSync(file, { force: true });
    else writeFileSync(file, log);
  }
}

async function inParallel<Item>(
  items: readonly Item[],
  jobs: number,
  work: (item: Item) => Promise<void>,
): Promise<void> {
  const queue = [...items];
  const worker = async (): Promise<void> => {
    for (let item = queue.shift(); item !== undefined; item = queue.shift()) await work(item);
  };
  await Promise.all(Array.from({ length: jobs }, worker));
}
