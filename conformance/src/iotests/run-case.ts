/** One case: with QEMU's own programs first, and if that works, with ours. */
import { LEFT_OUT } from "./left-out.ts";
import { referenceOutcome } from "./reference.ts";
import type { CaseRecord, Ended, OurPass } from "./results.ts";
import { type Outcome, runScript } from "./run-script.ts";
import { caseName, type TestCase } from "./source.ts";
import type { Toolbox } from "./tools.ts";

export interface CaseReport {
  readonly record: CaseRecord;
  /** What the script's runner printed, for the passes that failed. */
  readonly logs: Readonly<Partial<Record<OurPass, string>>>;
}

export interface RunCaseOptions {
  readonly toolbox: Toolbox;
  readonly passes: readonly OurPass[];
  /** For one pass of one script. */
  readonly timeoutMs: number;
}

export async function runCase(test: TestCase, options: RunCaseOptions): Promise<CaseReport> {
  const { toolbox, passes, timeoutMs } = options;
  const decided = LEFT_OUT[caseName(test)];
  if (decided !== undefined) return { record: { leftOut: decided }, logs: {} };
  const reference = await referenceOutcome(test, {
    release: toolbox.release,
    tools: toolbox.paths("reference"),
    timeoutMs,
  });
  const reason = whyLeftOut(reference);
  if (reason !== undefined) return { record: { leftOut: reason }, logs: {} };
  const record: { img?: Ended; io?: Ended } = {};
  const logs: Partial<Record<OurPass, string>> = {};
  for (const pass of passes) {
    const started = performance.now();
    const outcome = await runScript({ test, tools: toolbox.paths(pass), timeoutMs });
    const seconds = Math.ceil((performance.now() - started) / 1000);
    record[pass] = { passed: outcome.kind === "pass", seconds };
    if (outcome.kind !== "pass") logs[pass] = logOf(outcome);
  }
  return { record, logs };
}

/** Why a case says nothing about our programs, or undefined if it does. */
function whyLeftOut(outcome: Outcome): string | undefined {
  switch (outcome.kind) {
    case "pass":
      return undefined;
    case "needs":
      return `starts ${outcome.programs.join(", ")}`;
    case "not-run":
      return /not suitable for this image format/.test(outcome.reason)
        ? "is for other image formats"
        : "cannot run on this machine, as it says itself";
    case "fail":
    case "timeout":
      return "does not pass with QEMU's own programs on this machine";
  }
}

function logOf(outcome: Exclude<Outcome, { kind: "pass" }>): string {
  switch (outcome.kind) {
    case "fail":
    case "timeout":
      return outcome.log;
    case "not-run":
      return `the script did not run: ${outcome.reason}\n`;
    case "needs":
      return `the script started ${outcome.programs.join(", ")}\n`;
  }
}
