/** What a power cut may leave, judged by the real `qemu-img check`: leaks at most. */
import { writeFileSync } from "node:fs";
import { type CrashState, checkPowerCuts, ENGINE_SHAPES, engineCaseArbitrary } from "@qcow2/testing";
import fc from "fast-check";
import { expect, it } from "vitest";
import { caseRan } from "../src/case-log.ts";
import { describeConformance } from "../src/requires.ts";
import { Workbench } from "../src/workbench.ts";

const GROUP = "power cuts: the image that is left, checked by QEMU";
const SEED = 3;
const STATES = 5;
/** Nothing wrong, or leaks only. */
const INTACT = [0, 3];

await describeConformance(GROUP, {}, ({ reference: qemu }) => {
  it.concurrent.each(ENGINE_SHAPES)("$name", async (shape) => {
    using bench = new Workbench("power-cut");
    const judge = async ({ files, description }: CrashState): Promise<void> => {
      for (const [name, storage] of Object.entries(files)) {
        if (storage !== undefined) writeFileSync(bench.path(name), storage.toBytes());
      }
      const check = await qemu.tryImg(["check", "-f", "qcow2", "image"], { cwd: bench.folder });
      expect(INTACT, `${description}: ${check.stdout}${check.stderr}`).toContain(check.exitCode);
    };
    const [drawn] = fc.sample(engineCaseArbitrary(shape), { seed: SEED, numRuns: 1 });
    const states = await checkPowerCuts(drawn!, { states: STATES, onState: judge });
    // Each write to the header is one more.
    expect(states).toBeGreaterThanOrEqual(STATES);
    caseRan(GROUP, qemu.version, states);
  });
});
