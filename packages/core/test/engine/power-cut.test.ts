/** A power cut at any moment leaves an intact image that has everything that was flushed. */
import { checkPowerCuts, ENGINE_SHAPES, engineCaseArbitrary, runCases, shapeNamed } from "@qcow2/testing";
import { expect, it } from "vitest";

const SEED = 1;

it("survives power cuts in any sequence of operations, on every shape", { timeout: 300_000 }, async () => {
  let states = 0;
  const sequences = await runCases({
    shapes: ENGINE_SHAPES,
    seed: SEED,
    runs: 6,
    arbitrary: engineCaseArbitrary,
    check: async (drawn) => {
      // The smaller the disk, the more of its states can be looked at in the same time.
      const isSmall = shapeNamed(drawn.shape).size < 400_000;
      states += await checkPowerCuts(drawn, { states: isSmall ? 120 : 30 });
    },
  });
  console.log(`power cuts: ${sequences} sequences of operations, ${states} crash states, seed ${SEED}`);
  expect(states).toBeGreaterThan(1000);
});
