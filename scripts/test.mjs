/**
 * `npm test`: installs what is missing (QEMU's tools included), builds, lints, checks types and runs every test.
 * `npm test -- packages/core` runs only the tests whose path contains the words given (and passes options to vitest).
 * The last line says `N passed, N failed, N skipped`; the exit code is 0 only if nothing failed.
 */
import { requireSupportedNode } from "./lib/node-version.mjs";

requireSupportedNode();
main().then(
  (exitCode) => {
    process.exitCode = exitCode;
  },
  (error) => {
    console.error(error);
    process.exitCode = 1;
  },
);

async function main() {
  const { ensureInstalled } = await import("./lib/install.mjs");
  const { ensureBuilt, runTurbo } = await import("./lib/build.mjs");
  const { runNode } = await import("./lib/run.mjs");
  const { printSummary, readReport, reportOptions } = await import("./lib/test-report.mjs");

  const vitestArguments = process.argv.slice(2);
  const runsAll = vitestArguments.length === 0;
  const output = { stdio: ["ignore", 1, 2] };
  await ensureInstalled();

  const steps = new Map();
  const step = async (name, run) => {
    const started = performance.now();
    const ok = await run();
    steps.set(name, ok);
    console.log(
      `${ok ? "ok    " : "FAILED"} ${name} (${((performance.now() - started) / 1000).toFixed(1)} s)`,
    );
    return ok;
  };

  // Fetching QEMU waits for the network, and building for the processor: both at once.
  const needsQemu = runsAll || vitestArguments.some((word) => word.includes("conformance"));
  const qemu = needsQemu
    ? step(
        "QEMU tools",
        async () => (await runNode("conformance/scripts/install-qemu.mjs", [], output)) === 0,
      )
    : Promise.resolve(true);
  const built = await step("build", () => ensureBuilt({ all: true }));
  if (built && runsAll) {
    await step("lint", async () => {
      return (
        (await runNode("node_modules/@biomejs/biome/bin/biome", ["check", "--error-on-warnings"], output)) ===
        0
      );
    });
    await step("types", async () => (await runTurbo(["run", "typecheck"])) === 0);
  }
  await qemu;

  let report;
  if (built) {
    const { path, args } = reportOptions();
    const exitCode = await runNode(
      "node_modules/vitest/vitest.mjs",
      ["run", ...args, ...vitestArguments],
      output,
    );
    report = readReport(path, exitCode);
  }
  return printSummary({ steps, report });
}
