/** `npm run mutations -w @qcow2/conformance`: see `HELP`. */
import { chmodSync } from "node:fs";
import { stripVTControlCharacters } from "node:util";
import { readCommandLine } from "../command-line.ts";
import { Workbench } from "../workbench.ts";
import { MutatedRepository } from "./mutated-repository.ts";
import type { Mutation } from "./mutation.ts";
import { MUTATIONS } from "./mutations.ts";
import { knownTests, type Suite, suitesFor } from "./suites.ts";

const HELP = `Usage: npm run mutations -w @qcow2/conformance -- [options]

Plants known mistakes in a copy of the sources, one at a time, and runs the suites on it. Ends with 1 if a mistake goes
unnoticed, or if the intact sources fail, which is looked at first.

  --only WORDS,WORDS  those whose names contain one of these
  --list              name them, plant none
  --jobs N            copies that are worked on at a time (default 1)
  --quick             trust the intact sources, and take only a first look at the mistakes
  --help              this text`;

const { values } = readCommandLine({
  help: HELP,
  options: {
    only: { type: "string", default: "" },
    list: { type: "boolean", default: false },
    jobs: { type: "string", default: "1" },
    quick: { type: "boolean", default: false },
  },
});
process.exitCode = await main(values.only, values.list, Number(values.jobs));

async function main(only: string, lists: boolean, jobs: number): Promise<number> {
  const words = only.split(",");
  const mutations = MUTATIONS.filter(({ name }) => words.some((word) => name.includes(word)));
  if (lists) {
    for (const { name, file, suite } of mutations)
      console.log(`${name}  (${file}, found by ${suite ?? "?"})`);
    return 0;
  }
  if (!(jobs >= 1) || mutations.length === 0) {
    console.error("nothing to plant: --only names parts of the names, --jobs is a number");
    return 1;
  }
  using bench = new Workbench("mutations");
  // Some tests have another user do something in it.
  chmodSync(bench.folder, 0o755);
  const copies = Array.from(
    { length: jobs },
    (_, index) => new MutatedRepository(bench.path(`copy-${index}`)),
  );
  for (const copy of copies) await copy.build();
  const [first] = copies as [MutatedRepository];
  const suites = new Set(mutations.flatMap(({ file }) => suitesFor(file)));
  if (!values.quick) {
    const intact = await failingSuite(first, [...suites]);
    if (intact !== undefined) {
      console.error(`The intact sources fail in '${intact.suite}':\n${intact.report}`);
      return 1;
    }
    console.log(`The intact sources pass ${[...suites].map(({ name }) => name).join(", ")}.`);
  }
  const waiting = [...mutations];
  const unnoticed: Mutation[] = [];
  const work = async (copy: MutatedRepository): Promise<void> => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      if (!(await isNoticed(copy, next))) unnoticed.push(next);
    }
  };
  await Promise.all(copies.map(work));
  console.log(`${mutations.length - unnoticed.length} of ${mutations.length} mutations caught`);
  for (const { name } of unnoticed) console.log(`not noticed: ${name}`);
  return unnoticed.length === 0 ? 0 : 1;
}

async function isNoticed(copy: MutatedRepository, mutation: Mutation): Promise<boolean> {
  const started = Date.now();
  const failing = await copy.with(mutation, async () => {
    const isOfTests = mutation.suite?.endsWith("-tests") ?? false;
    const found = isOfTests ? undefined : await firstLook(copy, mutation);
    if (found !== undefined || (values.quick && !isOfTests)) return found;
    const all = suitesFor(mutation.file, mutation.suite).slice(0, values.quick ? 1 : undefined);
    return await failingSuite(copy, [...knownTests(mutation), ...all]);
  });
  const verdict = failing === undefined ? "NOT NOTICED" : `caught by ${failing.suite}`;
  const seconds = ((Date.now() - started) / 1000).toFixed(0);
  console.log(`${verdict.padEnd(26)} ${seconds.padStart(4)} s  ${mutation.name}`);
  if (failing !== undefined) console.log(`    ${reasonIn(failing.report)}`);
  return failing !== undefined;
}

/** The first error of a report, on one line. */
function reasonIn(report: string): string {
  const line = stripVTControlCharacters(report)
    .split("\n")
    .find((text) => /Error: |timed out|did not end/.test(text));
  return (line ?? report).trim().slice(0, 200);
}

/** Most mistakes in the engine show at a first look; others are left to the suites as they are in the tests. */
async function firstLook(
  copy: MutatedRepository,
  { file, suite = "", shape }: Mutation,
): Promise<{ readonly suite: string; readonly report: string } | undefined> {
  if (!file.startsWith("packages/core/")) return undefined;
  try {
    const { exitCode, stdout, stderr } = await copy.firstLook(suite, shape, values.quick ? "alone" : "all");
    if (exitCode === 0) return undefined;
    return { suite: /^([\w-]+): Error/m.exec(stdout)?.[1] ?? suite, report: stdout + stderr };
  } catch (error) {
    return { suite, report: String(error) };
  }
}

async function failingSuite(
  copy: MutatedRepository,
  suites: readonly Suite[],
): Promise<{ readonly suite: string; readonly report: string } | undefined> {
  for (const suite of suites) {
    try {
      const { exitCode, stdout, stderr } = await copy.runSuite(suite);
      if (exitCode !== 0) return { suite: suite.name, report: stdout + stderr };
    } catch (error) {
      return { suite: suite.name, report: String(error) };
    }
  }
  return undefined;
}
