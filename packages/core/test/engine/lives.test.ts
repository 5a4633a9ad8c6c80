/** Whatever an image goes through, it holds what the calls in their order leave. */
import { checkLife, ENGINE_SHAPES, lifeCaseArbitrary, runCases } from "@qcow2/testing";
import { expect, it } from "vitest";

const SEED = 1;

it("hold what the calls in their order leave, on every shape", { timeout: 300_000 }, async () => {
  let requests = 0;
  let lives = 0;
  // A model of every state of the disk takes its time where that is large.
  const [small, large] = [true, false].map((isSmall) =>
    ENGINE_SHAPES.filter(({ size }) => size < 400_000 === isSmall),
  );
  for (const [shapes = [], runs] of [[small, 8] as const, [large, 3] as const]) {
    lives += await runCases({
      shapes,
      seed: SEED,
      runs,
      arbitrary: lifeCaseArbitrary,
      check: async (drawn) => {
        requests += await checkLife(drawn);
      },
    });
  }
  console.log(`lives: ${lives} lives of ${requests} requests, seed ${SEED}`);
  expect(requests).toBeGreaterThan(1000);
});
