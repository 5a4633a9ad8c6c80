/**
 * `npm run property -w @qcow2/conformance -- [--seed N] [--minutes M] [--property NAME]`: draws cases for as long as
 * asked. Ends with 1 at the first failure, which is saved under conformance/cases.
 */
import { parseArgs } from "node:util";
import { findQemuReleases, REFERENCE_MINOR } from "../qemu-release.ts";
import { missingFor } from "../requirement.ts";
import { closeCodecs, PROPERTIES } from "./properties.ts";
import { runProperty } from "./run-property.ts";

const { values } = parseArgs({
  options: {
    seed: { type: "string" },
    minutes: { type: "string", default: "5" },
    property: { type: "string" },
  },
});
process.exitCode = await main();

async function main(): Promise<number> {
  const missing = await missingFor({});
  if (missing !== undefined) {
    console.error(missing);
    return 1;
  }
  const all = await findQemuReleases();
  const judges = { reference: all.find(({ minor }) => minor === REFERENCE_MINOR)!, all };
  const firstSeed = values.seed === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(values.seed);
  const properties = PROPERTIES.filter(
    ({ name }) => values.property === undefined || name === values.property,
  );
  if (properties.length === 0 || !Number.isSafeInteger(firstSeed) || !(Number(values.minutes) > 0)) {
    console.error(
      `properties: ${PROPERTIES.map(({ name }) => name).join(", ")}; --seed and --minutes are numbers`,
    );
    return 1;
  }
  const end = Date.now() + Number(values.minutes) * 60_000;
  const passed = new Map<string, number>();
  console.log(
    `seed ${firstSeed}, ${values.minutes} minutes, QEMU ${all.map(({ version }) => version).join(", ")}`,
  );
  try {
    // In turn, a few hundred cases each with a seed of its own, so that a short run sees all of them.
    for (let seed = firstSeed; Date.now() < end; seed++) {
      for (const property of properties) {
        const minutes = (end - Date.now()) / 60_000;
        if (minutes <= 0) break;
        const run = await runProperty({ property, judges, seed, runs: 200, minutes });
        passed.set(property.name, (passed.get(property.name) ?? 0) + run.passed);
        console.log(`${property.name}: seed ${seed}: ${run.passed} passed`);
        if (run.failure !== undefined) {
          console.error(run.failure);
          return 1;
        }
      }
    }
    for (const [name, count] of passed) console.log(`${name}: ${count} cases passed`);
    return 0;
  } finally {
    await closeCodecs();
  }
}
