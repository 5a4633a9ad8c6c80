/** Every case of the engine's suites that ever failed, again. */
import { expect, it } from "vitest";
import { ENGINE_SUITES, replayEngineCase, savedEngineCases } from "../src/property/engine-suites.ts";

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
