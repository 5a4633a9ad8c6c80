/** `npm run kernel-faults -w @qcow2/conformance`: see `HELP`. */
import { mkdirSync } from "node:fs";
import { readCommandLine } from "../command-line.ts";
import { findQemuReleases, REFERENCE_MINOR } from "../qemu-release.ts";
import { Workbench } from "../workbench.ts";
import { COMMANDS, makeFiles } from "./commands.ts";
import { findStrace } from "./strace.ts";
import { FaultyCommandTrials, sample } from "./trials.ts";

const HELP = `Usage: npm run kernel-faults -w @qcow2/conformance -- [options]

Runs every command that changes something, and has the kernel refuse each call that it makes (strace, Linux). Ends with 1
if something is lost, or not told.

  --only WORDS,WORDS  commands whose names contain one of these
  --sample N          of each command no more than this many faults, evenly spread (default: all)
  --help              this text`;

const { values } = readCommandLine({
  help: HELP,
  options: { only: { type: "string", default: "" }, sample: { type: "string", default: "Infinity" } },
});
process.exitCode = await main(values.only.split(","), Number(values.sample));

async function main(words: readonly string[], count: number): Promise<number> {
  const strace = findStrace();
  const qemu = (await findQemuReleases()).find(({ minor }) => minor === REFERENCE_MINOR);
  if (strace === undefined || qemu === undefined) {
    console.error("It needs strace and QEMU's tools: node conformance/scripts/install-qemu.mjs");
    return 1;
  }
  using bench = new Workbench("kernel-faults");
  const files = bench.path("files");
  mkdirSync(files);
  await makeFiles(qemu, files);
  let [tried, failed] = [0, 0];
  for (const command of COMMANDS.filter(({ name }) => words.some((word) => name.includes(word)))) {
    const trials = new FaultyCommandTrials({ strace, qemu, command, files, folder: bench.path() });
    const faults = sample(await trials.prepare(), count, 1);
    let failures = 0;
    for (const fault of faults) {
      try {
        await trials.try(fault);
      } catch (error) {
        console.error((error as Error).message);
        failures++;
      }
    }
    console.log(`${command.name}: ${faults.length} faults, ${failures} failures`);
    [tried, failed] = [tried + faults.length, failed + failures];
  }
  console.log(`${tried} faults, ${failed} failures`);
  return failed === 0 && tried > 0 ? 0 : 1;
}
