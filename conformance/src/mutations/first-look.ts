/**
 * The engine's suites in one process and without a test runner, for a first look at a planted mistake: the one that is
 * named as it is in the tests, of the others the first case of each shape. It is copied to where the mistake is, and run
 * there: `node first-look.js SUITE [SHAPE [alone]]`, where SHAPE is looked at before all others,
 * and the other suites are left out with "alone". Ends with 1 and says what failed.
 */
import {
  checkFaults,
  checkInterleaving,
  checkLife,
  checkModel,
  checkPowerCuts,
  checkRepair,
  checkTransaction,
  ENGINE_SHAPES,
  type EngineShape,
  engineCaseArbitrary,
  interleavedCaseArbitrary,
  lifeCaseArbitrary,
  modelCaseArbitrary,
  type RunCasesOptions,
  repairCaseArbitrary,
  runCases,
  transactionCaseArbitrary,
} from "@qcow2/testing";

/** As in the tests: the first cases of a shape are the same. */
const SEED = 1;

interface Look {
  readonly name: string;
  /** Cases of each shape in the tests. */
  readonly runs: number;
  look(shapes: readonly EngineShape[], runs: number): Promise<unknown>;
}

const LOOKS: readonly Look[] = [
  look("model", 15, modelCaseArbitrary, checkModel),
  look("interleavings", 10, interleavedCaseArbitrary, checkInterleaving),
  look("lives", 8, lifeCaseArbitrary, (drawn) => checkLife(drawn)),
  look("transactions", 5, transactionCaseArbitrary, (drawn) =>
    checkTransaction(drawn, { states: 25, points: 20 }),
  ),
  look("repairs", 6, repairCaseArbitrary, (drawn) => checkRepair(drawn, { states: 15 })),
  look("power-cut", 6, engineCaseArbitrary, (drawn) => checkPowerCuts(drawn, { states: 40 })),
  look("faults", 3, engineCaseArbitrary, (drawn) => checkFaults(drawn, { points: 40 })),
];

function look<Drawn>(
  name: string,
  runs: number,
  arbitrary: RunCasesOptions<Drawn>["arbitrary"],
  check: (drawn: Drawn) => Promise<unknown>,
): Look {
  return {
    name,
    runs,
    look: async (shapes, count) => {
      for (const shape of shapes) {
        await runCases<Drawn>({
          shapes: [shape],
          seed: SEED + ENGINE_SHAPES.indexOf(shape),
          runs: count,
          arbitrary,
          check: async (drawn) => {
            await check(drawn);
          },
        });
      }
    },
  };
}

const [, , suiteName, shapeName, extent] = process.argv;
const named = LOOKS.filter(({ name }) => name === suiteName);
const others = LOOKS.filter((suite) => !named.includes(suite));
const rounds = [
  ...named.map((suite) => ({ suite, runs: suite.runs, shapes: shapesNamed(shapeName) })),
  ...named.map((suite) => ({ suite, runs: 1, shapes: ENGINE_SHAPES })),
  ...named.map((suite) => ({ suite, runs: suite.runs, shapes: ENGINE_SHAPES })),
  ...(extent === "alone" ? [] : others).map((suite) => ({ suite, runs: 1, shapes: ENGINE_SHAPES })),
];

function shapesNamed(name: string | undefined): readonly EngineShape[] {
  return ENGINE_SHAPES.filter((shape) => shape.name === name);
}

for (const { suite, runs, shapes } of rounds) {
  try {
    await suite.look(shapes, runs);
  } catch (error) {
    console.log(`${suite.name}: Error: ${(error as Error).message}`);
    process.exit(1);
  }
}
