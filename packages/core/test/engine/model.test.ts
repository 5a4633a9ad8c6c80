/** Any mix of operations, on any shape: the disk reads like the model, and the check finds nothing. */
import { checkModel, ENGINE_SHAPES, modelCaseArbitrary, runCases } from "@qcow2/testing";
import { expect, it } from "vitest";

const SEED = 1;

it("reads like the model after any sequence of commands, on every shape", { timeout: 300_000 }, async () => {
  let commands = 0;
  const sequences = await runCases({
    shapes: ENGINE_SHAPES,
    seed: SEED,
    runs: 15,
    arbitrary: modelCaseArbitrary,
    check: async (drawn) => {
      commands += await checkModel(drawn);
    },
  });
  console.log(`model: ${sequences} sequences of ${commands} commands, seed ${SEED}`);
  expect(commands).toBeGreaterThan(1000);
});
