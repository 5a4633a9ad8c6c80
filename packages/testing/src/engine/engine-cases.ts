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
  /** "created": the image is used on as it was created; "opened": it was closed, and is opened again. */
  readonly begins: "created" | "opened";
  /** The image is closed and opened again after so many batches, if there are more. */
  readonly reopensAfter: number;
  /** A persistent bitmap follows the disk, where the image can have one. */
  readonly isFollowed: boolean;
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
    batches: fc.array(batch, { minLength: 1, maxLength: maxBatches, size: "max" }),
    cacheBytes: fc.constantFrom(1, 1, 4096, 2 ** 20),
    discard: fc.constantFrom<EngineCase["discard"]>("ignore", "unmap"),
    isFollowed: fc.boolean(),
    begins: fc.constantFrom<EngineCase["begins"]>("opened", "created"),
    reopensAfter: fc.nat(2 * maxBatches),
    seed: fc.nat(2 ** 31 - 1),
  });
}

/** Environment variable for those who only want to know whether a case fails: the smallest one is not looked for. */
const NO_SHRINKING = "QCOW2_NO_SHRINKING";

export interface RunCasesOptions<Drawn> {
  readonly shapes: readonly EngineShape[];
  readonly seed: number;
  /** Cases for each shape. */
  readonly runs: number;
  /** Milliseconds since 1970 after which no more cases are begun. Default never. */
  readonly until?: number | undefined;
  readonly arbitrary: (shape: EngineShape) => fc.Arbitrary<Drawn>;
  readonly check: (drawn: Drawn) => Promise<void>;
}

/** Draws `runs` cases for each shape, and throws at the first that fails, with the smallest case that does. */
export async function runCases<Drawn>(options: RunCasesOptions<Drawn>): Promise<number> {
  let passed = 0;
  for (const [index, shape] of options.shapes.entries()) {
    const left = options.until === undefined ? undefined : options.until - Date.now();
    if (left !== undefined && left <= 0) break;
    const result = await fc.check(fc.asyncProperty(options.arbitrary(shape), options.check), {
      seed: options.seed + index,
      numRuns: options.runs,
      endOnFailure: process.env[NO_SHRINKING] !== undefined,
      ...(left !== undefined && { interruptAfterTimeLimit: left }),
    });
    if (result.failed) throw caseFailure(shape, result);
    passed += result.numRuns;
  }
  return passed;
}

/** A case failed; {@link replay} finds it again. */
export class EngineCaseFailure extends Error {
  readonly replay: { readonly shape: string; readonly seed: number; readonly runs: number };

  constructor(message: string, replay: EngineCaseFailure["replay"], cause: Error | undefined) {
    super(message, { cause });
    this.replay = replay;
  }
}

function caseFailure<Drawn>(shape: EngineShape, result: fc.RunDetails<[Drawn]>): EngineCaseFailure {
  const [smallest] = result.counterexample ?? [];
  const cause = result.errorInstance instanceof Error ? result.errorInstance : undefined;
  const message = cause?.message ?? fc.defaultReportMessage(result);
  const found = `seed ${result.seed}, path "${result.counterexamplePath}": ${fc.stringify(smallest)}`;
  const replay = { shape: shape.name, seed: result.seed, runs: result.numRuns };
  return new EngineCaseFailure(`'${shape.name}': ${message}\nThe smallest case, ${found}`, replay, cause);
}
