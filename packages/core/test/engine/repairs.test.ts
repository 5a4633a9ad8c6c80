/** Damaged images are repaired without losing what could be read, whenever the power goes. */
import { checkRepair, ENGINE_SHAPES, repairCaseArbitrary, runCases } from "@qcow2/testing";
import { expect, it } from "vitest";

const SEED = 1;

it("keep what could be read, and can be run again, on every shape", { timeout: 300_000 }, async () => {
  let states = 0;
  const cases = await runCases({
    shapes: ENGINE_SHAPES,
    seed: SEED,
    runs: 6,
    arbitrary: repairCaseArbitrary,
    check: async (drawn) => {
      states += await checkRepair(drawn, { states: 15 });
    },
  });
  console.log(`repairs: ${cases} damaged images, ${states} crash states, seed ${SEED}`);
  expect(states).toBeGreaterThan(300);
});
