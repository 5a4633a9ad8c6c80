/** A power cut at any moment leaves an intact image that has everything that was flushed. */
import { checkPowerCuts, ENGINE_SHAPES, engineCaseArbitrary, runCases } from "@qcow2/testing";
import { expect, it } from "vitest";

const SEED = 1;

it("survives power cuts in any sequence of operations, on every shape", { timeout: 300_000 }, async () => {
  let states = 0;
  const sequences = await runCases({
    shapes: ENGINE_SHAPES,
    seed: SEED,
    runs: 5,
    arbitrary: engineCaseArbitrary,
    check: async (drawn) => {
      states += await checkPowerCuts(drawn, { states: 40 });
    },
  });
  console.log(`power cuts: ${sequences} sequences of operations, ${states} crash states, seed ${SEED}`);
  expect(states).toBeGreaterThan(1000);
});
