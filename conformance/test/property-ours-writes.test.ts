import { afterAll, expect, it } from "vitest";
import { closeCodecs, PROPERTIES } from "../src/property/properties.ts";
import { runProperty } from "../src/property/run-property.ts";
import { describeConformance } from "../src/requires.ts";

const SEED = Number(process.env.QCOW2_CONFORMANCE_SEED ?? 1);
const RUNS = Number(process.env.QCOW2_CONFORMANCE_RUNS ?? 300);

const property = PROPERTIES.find(({ name }) => name === "ours-writes")!;

await describeConformance(property.group, {}, (judges) => {
  afterAll(closeCodecs);

  it(`${property.name}: ${RUNS} drawn images, seed ${SEED}`, { timeout: 900_000 }, async () => {
    const run = await runProperty({ property, judges, seed: SEED, runs: RUNS });
    expect(run.failure).toBeUndefined();
    expect(run.passed).toBe(RUNS);
  });
});
