/** Every case that ever failed, again. */
import { afterAll, expect, it } from "vitest";
import { caseRan } from "../src/case-log.ts";
import { closeCodecs, PROPERTIES } from "../src/property/properties.ts";
import { savedCases } from "../src/property/saved-cases.ts";
import { describeConformance } from "../src/requires.ts";

const GROUP = "property: saved cases";

await describeConformance(GROUP, {}, (judges) => {
  afterAll(closeCodecs);
  const cases = savedCases();

  it(`are ${cases.length} files that can be read`, () => {
    for (const { file, saved } of cases) {
      expect(
        PROPERTIES.map(({ name }) => name),
        file,
      ).toContain(saved.property);
    }
  });

  it.each(cases)("$file", async ({ saved }) => {
    const property = PROPERTIES.find(({ name }) => name === saved.property)!;
    await property.check(saved.drawn, judges);
    for (const { version } of property.versions(judges)) caseRan(GROUP, version);
  });
});
