import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { repository } from "../lib/run.mjs";
import { printSummary, readReport } from "../lib/test-report.mjs";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "qcow2-scripts-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

/** A report as vitest writes it; each file is its name, its status and the status of each test. */
function reportOf(
  files: readonly (readonly [string, "passed" | "failed", readonly string[]])[],
  exitCode: number,
) {
  const path = join(folder, "report.json");
  const testResults = files.map(([name, status, tests]) => ({
    name: join(repository, name),
    status,
    assertionResults: tests.map((test) => ({ status: test })),
  }));
  writeFileSync(path, JSON.stringify({ testResults }));
  return readReport(path, exitCode);
}

/** What is printed, and the exit code. */
function summaryOf(results: Parameters<typeof printSummary>[0]) {
  const lines: string[] = [];
  const log = vi
    .spyOn(console, "log")
    .mockImplementation((text: string) => void lines.push(...text.split("\n")));
  try {
    return { exitCode: printSummary(results), lines };
  } finally {
    log.mockRestore();
  }
}

describe("the closing line", () => {
  it("counts tests of all workspaces, and stands alone at the end", () => {
    const report = reportOf(
      [
        ["packages/core/test/a.test.ts", "passed", ["passed", "passed", "skipped"]],
        ["packages/core/test/b.test.ts", "passed", ["passed", "todo"]],
        ["conformance/test/c.test.ts", "failed", ["passed", "failed"]],
      ],
      1,
    );
    const { exitCode, lines } = summaryOf({ failedSteps: [], report });
    expect(lines.at(-1)).toBe("4 passed, 1 failed, 2 skipped");
    expect(exitCode).toBe(1);
    expect(lines.some((line) => /^packages\/core +3 passed, 0 failed, 2 skipped\.$/.test(line))).toBe(true);
  });

  it("is green only if everything was", () => {
    const passing = [["apps/cli/test/a.test.ts", "passed", ["passed"]]] as const;
    expect(summaryOf({ failedSteps: [], report: reportOf(passing, 0) })).toMatchObject({ exitCode: 0 });
  });

  it.each([
    [
      "a file could not be loaded",
      [["apps/cli/test/a.test.ts", "failed", []]],
      1,
      [],
      "0 passed, 1 failed, 0 skipped",
    ],
    [
      "an error came from outside the tests",
      [["apps/cli/test/a.test.ts", "passed", ["passed"]]],
      1,
      [],
      "1 passed, 1 failed, 0 skipped",
    ],
    [
      "lint failed",
      [["apps/cli/test/a.test.ts", "passed", ["passed"]]],
      0,
      ["lint"],
      "1 passed, 1 failed, 0 skipped",
    ],
  ] as const)("counts a failure if %s", (_, files, vitestExitCode, failedSteps, expected) => {
    const { exitCode, lines } = summaryOf({ failedSteps, report: reportOf(files, vitestExitCode) });
    expect(lines.at(-1)).toBe(expected);
    expect(exitCode).toBe(1);
  });

  it("counts a build that failed", () => {
    const { exitCode, lines } = summaryOf({ failedSteps: ["build"], report: undefined });
    expect(lines.at(-1)).toBe("0 passed, 1 failed, 0 skipped");
    expect(exitCode).toBe(1);
  });
});
