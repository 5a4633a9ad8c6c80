/** One case of the engine's suites as plain JSON: drawn by seed, shrunk by fast-check, saved and replayed. */
import fc from "fast-check";
import { engineOperationArbitrary } from "./engine-arbitraries.ts";
import type { EngineOperation } from "./engine-operations.ts";
import type { EngineShape } from "./engine-shapes.ts";

export interface EngineCase {
  /** The shape's name. */
  readonly shape: string;
  /** The operations of a batch run at the same time; one batch after the other. */
  readonly batches: readonly (readonly EngineOperation[])[];
  /** Bytes of each table cache. */
  readonly cacheBytes: number;
  readonly discard: "ignore" | "unmap";
  /** Decides what the case leaves open: crash states, schedules, faults. */
  readonly seed: number;
}

export interface EngineCaseOptions {
  /** Batches of a case, at most. Default 8. */
  readonly maxBatches?: number;
  /** Operations of a batch, at most. Default 3. */
  readonly maxConcurrent?: number;
}

export function engineCaseArbitrary(
  shape: EngineShape,
  options: EngineCaseOptions = {},
): fc.Arbitrary<EngineCase> {
  const { maxBatches = 8, maxConcurrent = 3 } = options;
  const batch = fc.array(engineOperationArbitrary(shape), { minLength: 1, maxLength: maxConcurrent });
  return fc.record({
    shape: fc.constant(shape.name),
    batches: fc.array(batch, { minLength: 1, maxLength: maxBatches }),
    cacheBytes: fc.constantFrom(1, 1, 4096, 2 ** 20),
    discard: fc.constantFrom<EngineCase["discard"]>("ignore", "unmap"),
    seed: fc.nat(2 ** 31 - 1),
  });
}

/** Draws `runs` cases for each shape and throws at the first that fails, with the smallest case that does. */
export async function runEngineCases(options: {
  readonly shapes: readonly EngineShape[];
  readonly seed: number;
  /** Cases for each shape. */
  readonly runs: number;
  /** Milliseconds since 1970 after which no more cases are begun. Default never. */
  readonly until?: number | undefined;
  readonly cases?: EngineCaseOptions;
  readonly check: (drawn: EngineCase) => Promise<void>;
}): Promise<number> {
  let passed = 0;
  for (const [index, shape] of options.shapes.entries()) {
    const left = options.until === undefined ? undefined : options.until - Date.now();
    if (left !== undefined && left <= 0) break;
    const result = await fc.check(
      fc.asyncProperty(engineCaseArbitrary(shape, options.cases), options.check),
      {
        seed: options.seed + index,
        numRuns: options.runs,
        endOnFailure: false,
        ...(left !== undefined && { interruptAfterTimeLimit: left }),
      },
    );
    if (result.failed) {
      const [smallest] = result.counterexample ?? [];
      const cause = result.errorInstance instanceof Error ? result.errorInstance : undefined;
      throw new Error(
        `'${shape.name}', seed ${result.seed}: ${cause?.message ?? fc.defaultReportMessage(result)}\nReplay this case: ${JSON.stringify(smallest)}`,
        { cause },
      );
    }
    passed += result.numRuns;
  }
  return passed;
}
