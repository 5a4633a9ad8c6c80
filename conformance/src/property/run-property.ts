import fc from "fast-check";
import { caseRan } from "../case-log.ts";
import type { Judges } from "../requirement.ts";
import type { Property } from "./properties.ts";
import { saveCase } from "./saved-cases.ts";

export interface PropertyRun {
  /** Cases that passed. */
  readonly passed: number;
  /** A description of the failure, with how to replay it. */
  readonly failure: string | undefined;
}

export interface PropertyRunOptions {
  readonly property: Property;
  readonly judges: Judges;
  readonly seed: number;
  /** Stop after so many drawn cases ... */
  readonly runs: number;
  /** ... or after so much time. Shrinking a failure counts too. */
  readonly minutes?: number | undefined;
  readonly onCase?: (passed: number) => void;
}

/** Draws cases until one fails, or the runs or the time are over. A failing case is shrunk and saved. */
export async function runProperty(options: PropertyRunOptions): Promise<PropertyRun> {
  const { property, judges, seed, runs, minutes, onCase } = options;
  let passed = 0;
  const details = await fc.check(
    fc.asyncProperty(property.arbitrary(), async (drawn) => {
      await property.check(drawn, judges);
      passed++;
      onCase?.(passed);
    }),
    {
      seed,
      numRuns: runs,
      ...(minutes === undefined ? {} : { interruptAfterTimeLimit: minutes * 60_000 }),
    },
  );
  for (const { version } of property.versions(judges)) caseRan(property.group, version, passed);
  if (details.counterexample === null) return { passed, failure: undefined };
  const [drawn] = details.counterexample;
  const error =
    details.errorInstance instanceof Error ? details.errorInstance.message : String(details.errorInstance);
  const file = saveCase({
    property: property.name,
    error,
    seed,
    ...(details.counterexamplePath === null ? {} : { path: details.counterexamplePath }),
    drawn,
  });
  const failure = [
    `property ${property.name} failed (seed ${seed}, path ${details.counterexamplePath}, ${details.numShrinks} shrinks)`,
    `saved as ${file}: it is replayed by the tests from now on`,
    error,
  ].join("\n");
  return { passed, failure };
}
