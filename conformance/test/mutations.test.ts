/** The mistakes that `npm run mutations` plants still have their places in the engine. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { MUTATIONS } from "../src/mutations/mutations.ts";
import { REPOSITORY } from "../src/repository.ts";

it.each(MUTATIONS)("$name", ({ file, find, replace }) => {
  const built = readFileSync(join(REPOSITORY, "packages/core/dist", file), "utf8");
  expect(built.split(find).length - 1, `places in ${file}`).toBe(1);
  expect(replace).not.toBe(find);
});
