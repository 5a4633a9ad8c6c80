/** Reads vitest's JSON report and says in a few lines what ran. */
import { readFileSync, rmSync } from "node:fs";
import { join, relative, sep } from "node:path";
import { repository } from "./run.mjs";

/**
 * @typedef {{ passed: number, failed: number, skipped: number }} Counts
 * @typedef {{ name: string, status: string, assertionResults: readonly { status: string }[] }} FileResult
 * @typedef {{ total: Counts, byWorkspace: Map<string, Counts> }} Report
 */

/** Where vitest is to leave its report, and the arguments that make it do so. An older report is removed. */
export function reportOptions() {
  const path = join(repository, ".cache/vitest-report.json");
  rmSync(path, { force: true });
  return { path, args: ["--reporter=default", "--reporter=json", `--outputFile.json=${path}`] };
}

/**
 * @param {string} path
 * @param {number} exitCode What vitest ended with.
 * @returns {Report}
 */
export function readReport(path, exitCode) {
  /** @type {Report} */
  const report = { total: { passed: 0, failed: 0, skipped: 0 }, byWorkspace: new Map() };
  for (const file of readFiles(path)) {
    const workspace = workspaceOf(file.name);
    const counts = report.byWorkspace.get(workspace) ?? { passed: 0, failed: 0, skipped: 0 };
    report.byWorkspace.set(workspace, counts);
    for (const { status } of file.assertionResults) {
      counts[status === "passed" || status === "failed" ? status : "skipped"]++;
    }
    // A file that could not be loaded, or whose set-up failed, has no failed test to show for it.
    const hasFailure = file.assertionResults.some((test) => test.status === "failed");
    if (file.status === "failed" && !hasFailure) counts.failed++;
  }
  for (const counts of report.byWorkspace.values()) {
    report.total.passed += counts.passed;
    report.total.failed += counts.failed;
    report.total.skipped += counts.skipped;
  }
  // Errors outside any test (an unhandled rejection, no test file found) fail the run all the same.
  if (exitCode !== 0 && report.total.failed === 0) report.total.failed = 1;
  return report;
}

/** @param {string} path @returns {readonly FileResult[]} */
function readFiles(path) {
  try {
    return JSON.parse(readFileSync(path, "utf8")).testResults;
  } catch {
    return [];
  }
}

/** "packages/core", "apps/cli", "conformance", ... @param {string} file */
function workspaceOf(file) {
  const parts = relative(repository, file).split(sep);
  return parts.slice(0, parts[0] === "packages" || parts[0] === "apps" ? 2 : 1).join("/");
}

/**
 * Prints the steps, the counts of each workspace and the closing line. A step that failed counts as one failure.
 * @param {{ failedSteps: readonly string[], report: Report | undefined }} results
 * @returns {number} The exit code.
 */
export function printSummary({ failedSteps, report }) {
  const total = report?.total ?? { passed: 0, failed: 0, skipped: 0 };
  const failed = total.failed + failedSteps.length;

  console.log("");
  for (const [workspace, counts] of report?.byWorkspace ?? []) {
    console.log(
      `${workspace.padEnd(20)} ${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped.`,
    );
  }
  if (failedSteps.length > 0) console.log(`Failed outside the tests: ${failedSteps.join(", ")}.`);
  console.log(`\n${total.passed} passed, ${failed} failed, ${total.skipped} skipped`);
  return failed === 0 ? 0 : 1;
}
