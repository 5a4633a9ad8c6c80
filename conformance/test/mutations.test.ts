/** The mistakes that `npm run mutations` plants still have their places in the sources. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { MUTATIONS } from "../src/mutations/mutations.ts";
import { NOT_MISTAKES } from "../src/mutations/not-mistakes.ts";
import { knownTests, suitesFor } from "../src/mutations/suites.ts";
import { REPOSITORY } from "../src/repository.ts";

it.each(MUTATIONS)("$name", (mutation) => {
  const { file, find, replace, suite } = mutation;
  const source = readFileSync(join(REPOSITORY, file), "utf8");
  expect(source.split(find).length - 1, `places in ${file}`).toBe(1);
  expect(replace).not.toBe(find);
  const names = suitesFor(file).map(({ name }) => name);
  if (suite !== undefined) expect(names).toContain(suite);
  const known = knownTests(mutation).flatMap(({ paths }) => paths);
  expect(known.filter((path) => !existsSync(join(REPOSITORY, path)))).toEqual([]);
});

it.each(NOT_MISTAKES)("$name: no mistake", ({ file, find, reason }) => {
  expect(readFileSync(join(REPOSITORY, file), "utf8").split(find).length - 1, reason).toBe(1);
});

it("have names of their own", () => {
  expect(new Set(MUTATIONS.map(({ name }) => name)).size).toBe(MUTATIONS.length);
});
