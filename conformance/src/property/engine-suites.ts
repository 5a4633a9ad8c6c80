/** The engine's own suites, for as long as asked; in `npm test` each runs for seconds, with a fixed seed. */
import {
  checkFaults,
  checkInterleaving,
  checkModel,
  checkPowerCuts,
  ENGINE_SHAPES,
  engineCaseArbitrary,
  interleavedCaseArbitrary,
  modelCaseArbitrary,
  runCases,
} from "@qcow2/testing";

/** Cases of each shape that a round draws. */
const ROUND_RUNS = 10;
/** Crash states, and fault points, of each case. */
const POINTS = 100;

export interface EngineSuite {
  readonly name: string;
  /** What is counted besides the cases. */
  readonly counts: string;
  /** One round over all shapes, up to `until` (milliseconds since 1970); throws at the first failure. */
  round(options: { readonly seed: number; readonly until: number }): Promise<{
    readonly cases: number;
    readonly counted: number;
  }>;
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
];

function engineSuite<Drawn>(
  name: string,
  counts: string,
  arbitrary: Parameters<typeof runCases<Drawn>>[0]["arbitrary"],
  check: (drawn: Drawn) => Promise<number>,
): EngineSuite {
  return {
    name,
    counts,
    async round({ seed, until }) {
      let counted = 0;
      const cases = await runCases<Drawn>({
        shapes: ENGINE_SHAPES,
        seed,
        runs: ROUND_RUNS,
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
