import { expect, it } from "vitest";
import { management } from "../src/property/management/management-property.ts";
import { runProperty } from "../src/property/run-property.ts";
import { describeConformance } from "../src/requires.ts";

const SEED = Number(process.env.QCOW2_CONFORMANCE_SEED ?? 1);
const RUNS = Number(process.env.QCOW2_CONFORMANCE_RUNS ?? 200);

await describeConformance(management.group, {}, (judges) => {
  it(`${management.name}: ${RUNS} drawn sequences, seed ${SEED}`, { timeout: 900_000 }, async () => {
    const run = await runProperty({ property: management, judges, seed: SEED, runs: RUNS });
    expect(run.failure).toBeUndefined();
    expect(run.passed).toBe(RUNS);
  });
});
