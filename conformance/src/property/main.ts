/** `npm run property -w @qcow2/conformance`: see `HELP`. */

import { ENGINE_SUITES, EngineCaseFailure } from "@qcow2/testing";
import { readCommandLine } from "../command-line.ts";
import { findQemuReleases, REFERENCE_MINOR } from "../qemu-release.ts";
import { missingFor } from "../requirement.ts";
import { closeCodecs, PROPERTIES } from "./properties.ts";
import { runProperty } from "./run-property.ts";
import { saveEngineCase } from "./saved-engine-cases.ts";

/** Something that can be run for a while: one round with one seed. */
interface Runner {
  readonly name: string;
  /** @returns what passed, by what it is called */
  round(seed: number, until: number): Promise<Readonly<Record<string, number>>>;
}

const HELP = `Usage: npm run property -w @qcow2/conformance -- [options]

Draws cases for as long as asked: of the properties that hold images against QEMU, and of the engine's own suites. Ends
with 1 at the first failure, which is saved under conformance/cases and replayed by the tests from then on.

  --seed N         the first number of the random source (default: another each time; it is printed)
  --minutes M      how long (default 5)
  --property NAME  only this one; a name that there is not lists them
  --help           this text`;

const { values } = readCommandLine({
  help: HELP,
  options: {
    seed: { type: "string" },
    minutes: { type: "string", default: "5" },
    property: { type: "string" },
  },
});
process.exitCode = await main();

async function main(): Promise<number> {
  const firstSeed = values.seed === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(values.seed);
  const isWanted = ({ name }: { readonly name: string }): boolean =>
    values.property === undefined || name === values.property;
  const runners = [...ENGINE_SUITES.map(engineRunner).filter(isWanted), ...(await propertyRunners(isWanted))];
  if (runners.length === 0 || !Number.isSafeInteger(firstSeed) || !(Number(values.minutes) > 0)) {
    const names = [...ENGINE_SUITES, ...PROPERTIES].map(({ name }) => name);
    console.error(`properties: ${names.join(", ")}; --seed and --minutes are numbers`);
    return 1;
  }
  console.log(`seed ${firstSeed}, ${values.minutes} minutes: ${runners.map(({ name }) => name).join(", ")}`);
  try {
    return await runInTurn(runners, firstSeed, Date.now() + Number(values.minutes) * 60_000);
  } finally {
    await closeCodecs();
  }
}

/** In turn, a few hundred cases each with a seed of its own, so that a short run sees all of them. */
async function runInTurn(runners: readonly Runner[], firstSeed: number, end: number): Promise<number> {
  const totals = new Map<string, number>();
  for (let seed = firstSeed; Date.now() < end; seed++) {
    for (const [index, { name, round }] of runners.entries()) {
      // Each gets its share of the time that is left, whatever the others take.
      const until = Math.min(
        end,
        Date.now() + Math.max(60_000, (end - Date.now()) / (runners.length - index)),
      );
      if (Date.now() >= end) break;
      try {
        const passed = await round(seed, until);
        const counts = Object.entries(passed).map(([what, count]) => {
          const key = `${name}: ${what}`;
          totals.set(key, (totals.get(key) ?? 0) + count);
          return `${count} ${what}`;
        });
        console.log(`${name}: seed ${seed}: ${counts.join(", ")} passed`);
      } catch (error) {
        console.error(`${name}: seed ${seed}: ${(error as Error).message}`);
        if (error instanceof EngineCaseFailure) console.error(`saved as ${saveEngineCase(name, error)}`);
        return 1;
      }
    }
  }
  for (const [what, count] of totals) console.log(`${what}: ${count} passed`);
  return 0;
}

function engineRunner({ name, counts, round }: (typeof ENGINE_SUITES)[number]): Runner {
  return {
    name,
    round: async (seed, until) => {
      const { cases, counted } = await round({ seed, until });
      return { cases, [counts]: counted };
    },
  };
}

/** The properties that need QEMU; none, with the reason on stderr, where it is missing. */
async function propertyRunners(
  isWanted: (property: { readonly name: string }) => boolean,
): Promise<readonly Runner[]> {
  const wanted = PROPERTIES.filter(isWanted);
  if (wanted.length === 0) return [];
  const missing = await missingFor({});
  if (missing !== undefined) {
    console.error(missing);
    return [];
  }
  const all = await findQemuReleases();
  const judges = { reference: all.find(({ minor }) => minor === REFERENCE_MINOR)!, all };
  console.log(`QEMU ${all.map(({ version }) => version).join(", ")}`);
  return wanted.map((property) => ({
    name: property.name,
    round: async (seed, until) => {
      const minutes = (until - Date.now()) / 60_000;
      const run = await runProperty({ property, judges, seed, runs: 200, minutes });
      if (run.failure !== undefined) throw new Error(run.failure);
      return { cases: run.passed };
    },
  }));
}
