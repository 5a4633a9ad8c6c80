/**
 * The kernel refuses a call of a command: nothing is lost, and the exit code is right. What is demanded is written in
 * `src/kernel-faults/trials.ts`; this is a sample, and `npm run kernel-faults -w @qcow2/conformance` tries every call of all commands.
 */
import { mkdirSync } from "node:fs";
import { afterAll, beforeAll, describe, it } from "vitest";
import { caseLeftOut, caseRan } from "../src/case-log.ts";
import { COMMANDS, makeFiles } from "../src/kernel-faults/commands.ts";
import { findStrace } from "../src/kernel-faults/strace.ts";
import { FaultyCommandTrials, sample } from "../src/kernel-faults/trials.ts";
import { describeConformance } from "../src/requires.ts";
import { Workbench } from "../src/workbench.ts";

const GROUP = "kernel faults: nothing is lost, and the exit code is right";
const TRIED = [
  "io write",
  "convert over an image",
  "convert to raw",
  "resize",
  "amend",
  "snapshot -c",
  "bitmap --add",
  "commit",
  "check -r",
  "dd",
];
/** Faults of each command. */
const FAULTS = 2;

const strace = findStrace();
if (strace === undefined) {
  const reason = "no strace that may trace (node conformance/scripts/install-qemu.mjs)";
  caseLeftOut(GROUP, reason);
  // Without strace the kernel refuses nothing; the summary of the run names the reason.
  describe.skip(GROUP, () => it(`left out: ${reason}`, () => {}));
} else {
  await describeConformance(GROUP, { platform: "linux" }, ({ reference }) => {
    const bench = new Workbench("kernel-faults");
    const files = bench.path("files");
    beforeAll(async () => {
      mkdirSync(files);
      await makeFiles(reference, files);
    });
    afterAll(() => bench[Symbol.dispose]());
    it.each(COMMANDS.filter(({ name }) => TRIED.includes(name)))("$name", async (command) => {
      const trials = new FaultyCommandTrials({
        strace,
        qemu: reference,
        command,
        files,
        folder: bench.path(),
      });
      for (const fault of sample(await trials.prepare(), FAULTS, 1)) {
        await trials.try(fault);
        caseRan(GROUP, reference.version);
      }
    });
  });
}
