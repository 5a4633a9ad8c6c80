/** Snapshots are taken, applied and deleted, disks resized, and headers changed wholly or not at all, whatever fails and whenever the power goes. */
import { checkTransaction, ENGINE_SHAPES, runCases, transactionCaseArbitrary } from "@qcow2/testing";
import { expect, it } from "vitest";

const SEED = 1;

it("leave the image as it was or as it has to be, on every shape", { timeout: 300_000 }, async () => {
  let interruptions = 0;
  const sequences = await runCases({
    shapes: ENGINE_SHAPES,
    seed: SEED,
    runs: 5,
    arbitrary: transactionCaseArbitrary,
    check: async (drawn) => {
      interruptions += await checkTransaction(drawn, { states: 25, points: 20 });
    },
  });
  console.log(`transactions: ${sequences} sequences, ${interruptions} crash states and faults, seed ${SEED}`);
  expect(interruptions).toBeGreaterThan(1000);
});
