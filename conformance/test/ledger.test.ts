import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { LEDGER } from "../src/ledger.ts";
import { REPOSITORY } from "../src/repository.ts";

it("LEDGER.md and ledger.ts have the same entries", () => {
  const text = readFileSync(join(REPOSITORY, "conformance/LEDGER.md"), "utf8");
  const headings = [...text.matchAll(/^## (\d+)\. (.*)$/gm)].map(
    ([, number, title]) => `${number}. ${title}`,
  );
  expect(headings).toEqual(LEDGER.map(({ number, title }) => `${number}. ${title}`));
});
