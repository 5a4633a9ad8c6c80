/** Whatever the storage fails to do: the caller is told, a retry succeeds, and the image is never corrupt. */
import { checkFaults, ENGINE_SHAPES, engineCaseArbitrary, runCases } from "@qcow2/testing";
import { expect, it } from "vitest";

const SEED = 1;

it("bears a failure of any storage operation, on every shape", { timeout: 300_000 }, async () => {
  let points = 0;
  const sequences = await runCases({
    shapes: ENGINE_SHAPES,
    seed: SEED,
    runs: 3,
    arbitrary: engineCaseArbitrary,
    check: async (drawn) => {
      points += await checkFaults(drawn, { points: 40 });
    },
  });
  console.log(`faults: ${sequences} sequences of operations, ${points} fault points, seed ${SEED}`);
  expect(points).toBeGreaterThan(1000);
});
