/** Concurrent requests have the result of the order of their calls, in whatever order their I/O completes. */
import { checkInterleaving, ENGINE_SHAPES, interleavedCaseArbitrary, runCases } from "@qcow2/testing";
import { expect, it } from "vitest";

const SEED = 1;

it("keeps concurrent requests apart, whatever the order of completions, on every shape", {
  timeout: 300_000,
}, async () => {
  let requests = 0;
  const schedules = await runCases({
    shapes: ENGINE_SHAPES,
    seed: SEED,
    runs: 10,
    arbitrary: interleavedCaseArbitrary,
    check: async (drawn) => {
      requests += await checkInterleaving(drawn);
    },
  });
  console.log(`interleavings: ${schedules} schedules of ${requests} concurrent requests, seed ${SEED}`);
  expect(requests).toBeGreaterThan(1000);
});
