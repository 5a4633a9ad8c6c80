/** The engine's own suites, for as long as asked; in `npm test` each runs for seconds, with a fixed seed. */
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  checkFaults,
  checkInterleaving,
  checkLife,
  checkModel,
  checkPowerCuts,
  checkRepair,
  checkTransaction,
  ENGINE_SHAPES,
  type EngineCaseFailure,
  type EngineShape,
  engineCaseArbitrary,
  interleavedCaseArbitrary,
  lifeCaseArbitrary,
  modelCaseArbitrary,
  type RunCasesOptions,
  repairCaseArbitrary,
  runCases,
  shapeNamed,
  transactionCaseArbitrary,
} from "@qcow2/testing";
import { SAVED_CASES } from "../repository.ts";

const SAVED_ENGINE_CASES = join(SAVED_CASES, "engine");
/** Cases of each shape that a round draws. */
const ROUND_RUNS = 10;
/** Crash states, and fault points, of each case. */
const POINTS = 100;

export interface EngineSuite {
  readonly name: string;
  /** What is counted besides the cases. */
  readonly counts: string;
  /** One round over all shapes, or over some; throws an `EngineCaseFailure` at the first failure. */
  round(options: {
    readonly seed: number;
    /** Milliseconds since 1970 after which nothing more is begun. */
    readonly until?: number;
    readonly shapes?: readonly EngineShape[];
    /** Cases of each shape. */
    readonly runs?: number;
  }): Promise<{ readonly cases: number; readonly counted: number }>;
}

export const ENGINE_SUITES: readonly EngineSuite[] = [
  engineSuite("model", "commands", modelCaseArbitrary, checkModel),
  engineSuite("power-cut", "crash states", engineCaseArbitrary, (drawn) =>
    checkPowerCuts(drawn, { states: POINTS }),
  ),
  engineSuite("faults", "fault points", engineCaseArbitrary, (drawn) =>
    checkFaults(drawn, { points: POINTS }),
  ),
  engineSuite("interleavings", "concurrent requests", interleavedCaseArbitrary, checkInterleaving),
  engineSuite("lives", "requests", lifeCaseArbitrary, (drawn) => checkLife(drawn)),
  engineSuite("transactions", "crash states and faults", transactionCaseArbitrary, (drawn) =>
    checkTransaction(drawn, { states: POINTS / 2, points: POINTS / 2 }),
  ),
  engineSuite("repairs", "crash states", repairCaseArbitrary, (drawn) =>
    checkRepair(drawn, { states: POINTS / 2 }),
  ),
];

function engineSuite<Drawn>(
  name: string,
  counts: string,
  arbitrary: RunCasesOptions<Drawn>["arbitrary"],
  check: (drawn: Drawn) => Promise<number>,
): EngineSuite {
  return {
    name,
    counts,
    async round({ seed, until, shapes = ENGINE_SHAPES, runs = ROUND_RUNS }) {
      let counted = 0;
      const cases = await runCases<Drawn>({
        shapes,
        seed,
        runs,
        until,
        arbitrary,
        check: async (drawn) => {
          counted += await check(drawn);
        },
      });
      return { cases, counted };
    },
  };
}

/** What failed once: the suite, and where in it; replayed in every test run. */
export interface SavedEngineCase {
  readonly suite: string;
  readonly shape: string;
  readonly seed: number;
  readonly runs: number;
  /** What went wrong when it was saved. */
  readonly error: string;
}

/** @returns the file's path */
export function saveEngineCase(suite: string, { message, replay }: EngineCaseFailure): string {
  mkdirSync(SAVED_ENGINE_CASES, { recursive: true });
  const saved: SavedEngineCase = { suite, ...replay, error: message };
  const file = join(
    SAVED_ENGINE_CASES,
    `${suite}-${replay.shape.replaceAll(/\W+/g, "-")}-${replay.seed}.json`,
  );
  writeFileSync(file, `${JSON.stringify(saved, undefined, 2)}\n`);
  return file;
}

export function savedEngineCases(): readonly { readonly file: string; readonly saved: SavedEngineCase }[] {
  if (!existsSync(SAVED_ENGINE_CASES)) return [];
  return readdirSync(SAVED_ENGINE_CASES)
    .sort()
    .map((file) => ({
      file,
      saved: JSON.parse(readFileSync(join(SAVED_ENGINE_CASES, file), "utf8")) as SavedEngineCase,
    }));
}

/** Draws the cases that a saved one was among again. */
export async function replayEngineCase({ suite, shape, seed, runs }: SavedEngineCase): Promise<void> {
  const found = ENGINE_SUITES.find(({ name }) => name === suite);
  if (found === undefined) throw new Error(`no suite is called '${suite}'`);
  await found.round({ seed, shapes: [shapeNamed(shape)], runs });
}
