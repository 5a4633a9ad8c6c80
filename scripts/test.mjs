/**
 * `npm test`: installs what is missing (QEMU's tools included), builds, lints, checks types and runs every test.
 * `npm test -- packages/core` runs only the tests of that folder or file; vitest's options are passed on (`-t NAME`).
 * The last line says `N passed, N failed, N skipped`; the exit code is 0 only if nothing failed.
 */
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { requireSupportedNode } from "./lib/node-version.mjs";
import { repository, runNode } from "./lib/run.mjs";

const TSC = "node_modules/typescript/bin/tsc";

/** Names of the steps before the tests that failed. @type {string[]} */
const failedSteps = [];

requireSupportedNode();
main(process.argv.slice(2).flatMap(toVitestFilters)).then(
  (exitCode) => {
    process.exitCode = exitCode;
  },
  (error) => {
    console.error(error);
    process.exitCode = 1;
  },
);

/** @param {readonly string[]} vitestArguments @returns {Promise<number>} The exit code. */
async function main(vitestArguments) {
  const { ensureInstalled } = await import("./lib/install.mjs");
  const { ensureBuilt, runTurbo } = await import("./lib/build.mjs");
  const { printSummary, readReport, reportOptions } = await import("./lib/test-report.mjs");
  const runsAll = vitestArguments.length === 0;
  await ensureInstalled();

  // Fetching QEMU waits for the network, building for the processor: both at once.
  const needsQemu = runsAll || vitestArguments.some((word) => word.includes("conformance"));
  const qemu = needsQemu
    ? step("QEMU tools", () => runTool("conformance/scripts/install-qemu.mjs"))
    : undefined;
  const built = await step("build", async () => ((await ensureBuilt({ all: true })) ? 0 : 1));
  if (built && runsAll) {
    await step("lint", () =>
      runTool("node_modules/@biomejs/biome/bin/biome", "check", "--error-on-warnings"),
    );
    await step(
      "types",
      async () => (await runTurbo(["run", "typecheck"])) || (await runTool(TSC, "-p", "scripts")),
    );
  }
  await qemu;

  let report;
  if (built) {
    const { path, args } = reportOptions();
    const exitCode = await runTool("node_modules/vitest/vitest.mjs", "run", ...args, ...vitestArguments);
    report = readReport(path, exitCode);
  }
  return printSummary({ failedSteps, report });
}

/**
 * Runs one step and says how it ended.
 * @param {string} name
 * @param {() => Promise<number>} run Gives an exit code.
 */
async function step(name, run) {
  const started = performance.now();
  const ok = (await run()) === 0;
  if (!ok) failedSteps.push(name);
  console.log(`${ok ? "ok    " : "FAILED"} ${name} (${((performance.now() - started) / 1000).toFixed(1)} s)`);
  return ok;
}

/** @param {string} script @param {...string} args */
function runTool(script, ...args) {
  return runNode(script, args, { stdio: ["ignore", 1, 2] });
}

/** vitest takes the folder of one workspace as a filter, but not a folder of workspaces. @param {string} word */
function toVitestFilters(word) {
  const parent = word.replace(/[/\\]$/, "");
  if (parent !== "packages" && parent !== "apps") return [word];
  return readdirSync(join(repository, parent))
    .map((name) => `${parent}/${name}`)
    .filter((folder) => existsSync(join(repository, folder, "test")));
}
