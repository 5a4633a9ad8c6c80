/** Every case of the engine's suites that ever failed, again. */
import { ENGINE_SUITES } from "@qcow2/testing";
import { expect, it } from "vitest";
import { replayEngineCase, savedEngineCases } from "../src/property/saved-engine-cases.ts";

const cases = savedEngineCases();

it(`are ${cases.length} files that can be read`, () => {
  for (const { file, saved } of cases) {
    expect(
      ENGINE_SUITES.map(({ name }) => name),
      file,
    ).toContain(saved.suite);
  }
});

it.each(cases)("$file", async ({ saved }) => {
  await replayEngineCase(saved);
});
