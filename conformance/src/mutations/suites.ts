/** The suites of which one at least has to fail when a mistake was planted. */

import type { Mutation } from "./mutation.ts";

export interface Suite {
  readonly name: string;
  /** What vitest is given: files or folders of the copied repository. */
  readonly paths: readonly string[];
  readonly exclude?: readonly string[];
}

const ENGINE_TESTS = "packages/core/test/engine";

function engineSuite(name: string): Suite {
  return { name, paths: [`${ENGINE_TESTS}/${name}.test.ts`] };
}

/** Those that draw cases from a wide space, the quickest first. */
const ENGINE_SUITES: readonly Suite[] = [
  "model",
  "interleavings",
  "lives",
  "transactions",
  "repairs",
  "power-cut",
  "faults",
].map(engineSuite);

/** All other tests of the core: each is about one thing. */
const CORE_TESTS: Suite = {
  name: "core-tests",
  paths: ["packages/core/test"],
  exclude: ENGINE_SUITES.flatMap(({ paths }) => paths),
};

const SUITES_OF: Readonly<Record<string, readonly Suite[]>> = {
  core: [CORE_TESTS, ...ENGINE_SUITES],
  convert: [{ name: "convert-tests", paths: ["packages/convert/test"] }],
  node: [{ name: "node-tests", paths: ["packages/node/test"] }],
};

/** The tests that are known to find a mistake, alone; none if nobody has said so. */
export function knownTests({ file, suite = "", tests }: Mutation): readonly Suite[] {
  const [, name = ""] = file.split("/");
  return tests === undefined ? [] : [{ name: suite, paths: [`packages/${name}/test/${tests}`] }];
}

/** The suites for a mistake in a file of the sources, the one that is known to find it first. */
export function suitesFor(file: string, first?: string | undefined): readonly Suite[] {
  const [, name = ""] = file.split("/");
  const suites = SUITES_OF[name];
  if (suites === undefined) throw new Error(`no suites are known for ${file}`);
  return [...suites].sort((one, other) => Number(other.name === first) - Number(one.name === first));
}
