/** The quickest of QEMU's own test scripts that are recorded as passing with our programs: they still pass. */
import { describe, expect, it } from "vitest";
import { caseLeftOut, caseRan } from "../src/case-log.ts";
import { type OurPass, readResults } from "../src/iotests/results.ts";
import { runCase } from "../src/iotests/run-case.ts";
import { parseCaseName, sourceVersion } from "../src/iotests/source.ts";
import { Toolbox } from "../src/iotests/tools.ts";
import { describeConformance } from "../src/requires.ts";

const GROUP = "QEMU's own test scripts";
/** Seconds that all of them together took when they were recorded. */
const BUDGET_SECONDS = 60;
const TIMEOUT_MS = 110_000;

interface QuickCase {
  readonly name: string;
  readonly pass: OurPass;
  readonly seconds: number;
}

/** The quickest first, as many as the budget allows; with both programs ours where that passes. */
function quickCases(): readonly QuickCase[] {
  const passing = Object.entries(readResults().cases).flatMap(([name, record]): readonly QuickCase[] => {
    const pass = (["io", "img"] as const).find((candidate) => record[candidate]?.passed === true);
    return pass === undefined ? [] : [{ name, pass, seconds: record[pass]?.seconds ?? 0 }];
  });
  const chosen: QuickCase[] = [];
  let left = BUDGET_SECONDS;
  for (const quick of passing.sort((a, b) => a.seconds - b.seconds || (a.name < b.name ? -1 : 1))) {
    left -= quick.seconds;
    if (left >= 0) chosen.push(quick);
  }
  return chosen;
}

if (sourceVersion() === undefined) {
  const reason = "no test scripts (run node conformance/scripts/install-iotests.mjs)";
  caseLeftOut(GROUP, reason);
  // The scripts are another package of Debian's, fetched by whoever runs them, and the nightly run does.
  describe.skip(GROUP, () => it(`left out: ${reason}`, () => {}));
} else {
  await describeConformance(GROUP, { programs: ["python3"] }, ({ reference }) => {
    it.each(quickCases())("$name ($pass)", async ({ name, pass }) => {
      using toolbox = new Toolbox(reference);
      const { record, logs } = await runCase(parseCaseName(name), {
        toolbox,
        passes: [pass],
        timeoutMs: TIMEOUT_MS,
      });
      expect(record[pass]?.passed, record.leftOut ?? logs[pass] ?? name).toBe(true);
      caseRan(GROUP, reference.version);
    });
  });
}
