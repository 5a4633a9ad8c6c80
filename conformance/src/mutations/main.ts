/**
 * `npm run mutations -w @qcow2/conformance [-- --only WORDS,WORDS]`: plants known mistakes in a copy of the built engine, one
 * at a time, and runs the engine's suites on it. Ends with 1 if a mistake goes unnoticed, or the intact engine fails.
 */
import { parseArgs } from "node:util";
import { Workbench } from "../workbench.ts";
import { MutatedEngine, SUITES } from "./mutated-engine.ts";
import { MUTATIONS } from "./mutations.ts";

const { values } = parseArgs({ options: { only: { type: "string", default: "" } } });
process.exitCode = await main(values.only);

async function main(only: string): Promise<number> {
  const words = only.split(",");
  const mutations = MUTATIONS.filter(({ name }) => words.some((word) => name.includes(word)));
  using bench = new Workbench("mutations");
  using engine = new MutatedEngine(bench.path("engine"));
  const intact = await failingSuite(engine);
  if (intact !== undefined) {
    console.error(`The intact engine fails in '${intact.suite}':\n${intact.report}`);
    return 1;
  }
  console.log(`The intact engine passes ${SUITES.join(", ")}.`);
  const unnoticed: string[] = [];
  for (const mutation of mutations) {
    const started = Date.now();
    const failing = await engine.with(mutation, () => failingSuite(engine));
    if (failing === undefined) unnoticed.push(mutation.name);
    const verdict = failing === undefined ? "NOT NOTICED" : `caught by ${failing.suite}`;
    console.log(
      `${verdict.padEnd(25)} ${((Date.now() - started) / 1000).toFixed(0).padStart(4)} s  ${mutation.name}`,
    );
  }
  console.log(`${mutations.length - unnoticed.length} of ${mutations.length} mutations caught`);
  return unnoticed.length === 0 && mutations.length > 0 ? 0 : 1;
}

async function failingSuite(
  engine: MutatedEngine,
): Promise<{ readonly suite: string; readonly report: string } | undefined> {
  for (const suite of SUITES) {
    try {
      const { exitCode, stdout, stderr } = await engine.runSuite(suite);
      if (exitCode !== 0) return { suite, report: stdout + stderr };
    } catch (error) {
      return { suite, report: String(error) };
    }
  }
  return undefined;
}
