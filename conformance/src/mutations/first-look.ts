/**
 * The engine's suites in one process and without a test runner, for a first look at a planted mistake: the one that is
 * named as it is in the tests, of the others the first case of each shape. It is copied to where the mistake is, and run
 * there: `node first-look.js SUITE [SHAPE [alone]]`, where SHAPE is looked at before all others,
 * and the other suites are left out with "alone". Ends with 1 and says what failed.
 */
import { ENGINE_SHAPES, ENGINE_SUITES, type EngineShape, type EngineSuite } from "@qcow2/testing";

/** As in the tests: the first cases of a shape are the same. */
const SEED = 1;

interface Look {
  readonly suite: EngineSuite;
  /** Cases of each shape, as in the tests. */
  readonly runs: number;
  /** Crash states and fault points of each case; of transactions and repairs half as many. */
  readonly points?: number;
}

const LOOKS: readonly Look[] = [
  look("model", 15),
  look("interleavings", 10),
  look("lives", 8),
  look("transactions", 5, 50),
  look("repairs", 6, 30),
  look("power-cut", 6, 40),
  look("faults", 3, 40),
];

function look(name: string, runs: number, points?: number): Look {
  const suite = ENGINE_SUITES.find((candidate) => candidate.name === name);
  if (suite === undefined) throw new Error(`no suite is called '${name}'`);
  return points === undefined ? { suite, runs } : { suite, runs, points };
}

const [, , suiteName, shapeName, extent] = process.argv;
const named = LOOKS.filter(({ suite }) => suite.name === suiteName);
const others = LOOKS.filter((candidate) => !named.includes(candidate));
const rounds: readonly (Look & { readonly shapes: readonly EngineShape[] })[] = [
  ...named.map((known) => ({ ...known, shapes: shapesNamed(shapeName) })),
  ...named.map((known) => ({ ...known, runs: 1, shapes: ENGINE_SHAPES })),
  ...named.map((known) => ({ ...known, shapes: ENGINE_SHAPES })),
  ...(extent === "alone" ? [] : others).map((other) => ({ ...other, runs: 1, shapes: ENGINE_SHAPES })),
];

function shapesNamed(name: string | undefined): readonly EngineShape[] {
  return ENGINE_SHAPES.filter((shape) => shape.name === name);
}

for (const { suite, shapes, ...options } of rounds) {
  try {
    for (const shape of shapes) {
      await suite.round({ shapes: [shape], seed: SEED + ENGINE_SHAPES.indexOf(shape), ...options });
    }
  } catch (error) {
    console.log(`${suite.name}: Error: ${(error as Error).message}`);
    process.exit(1);
  }
}
