/** The engine's suites, each as a round over shapes: for those who run them in other ways than the tests do. */
import { engineCaseArbitrary, type RunCasesOptions, runCases } from "./engine-cases.ts";
import { ENGINE_SHAPES, type EngineShape } from "./engine-shapes.ts";
import { checkFaults } from "./faults.ts";
import { checkInterleaving, interleavedCaseArbitrary } from "./interleavings.ts";
import { checkLife, lifeCaseArbitrary } from "./lives.ts";
import { checkModel, modelCaseArbitrary } from "./model.ts";
import { checkPowerCuts } from "./power-cut.ts";
import { checkRepair, repairCaseArbitrary } from "./repairs.ts";
import { checkTransaction, transactionCaseArbitrary } from "./transactions.ts";

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
    /** Cases of each shape. Default 10. */
    readonly runs?: number;
    /** Crash states, and fault points, of each case; of transactions and repairs half as many. Default 100. */
    readonly points?: number;
  }): Promise<{ readonly cases: number; readonly counted: number }>;
}

export const ENGINE_SUITES: readonly EngineSuite[] = [
  engineSuite("model", "commands", modelCaseArbitrary, checkModel),
  engineSuite("power-cut", "crash states", engineCaseArbitrary, (drawn, points) =>
    checkPowerCuts(drawn, { states: points }),
  ),
  engineSuite("faults", "fault points", engineCaseArbitrary, (drawn, points) =>
    checkFaults(drawn, { points }),
  ),
  engineSuite("interleavings", "concurrent requests", interleavedCaseArbitrary, checkInterleaving),
  engineSuite("lives", "requests", lifeCaseArbitrary, (drawn) => checkLife(drawn)),
  engineSuite("transactions", "crash states and faults", transactionCaseArbitrary, (drawn, points) =>
    checkTransaction(drawn, { states: points / 2, points: points / 2 }),
  ),
  engineSuite("repairs", "crash states", repairCaseArbitrary, (drawn, points) =>
    checkRepair(drawn, { states: points / 2 }),
  ),
];

function engineSuite<Drawn>(
  name: string,
  counts: string,
  arbitrary: RunCasesOptions<Drawn>["arbitrary"],
  check: (drawn: Drawn, points: number) => Promise<number>,
): EngineSuite {
  return {
    name,
    counts,
    async round({ seed, until, shapes = ENGINE_SHAPES, runs = ROUND_RUNS, points = POINTS }) {
      let counted = 0;
      const cases = await runCases<Drawn>({
        shapes,
        seed,
        runs,
        until,
        arbitrary,
        check: async (drawn) => {
          counted += await check(drawn, points);
        },
      });
      return { cases, counted };
    },
  };
}
