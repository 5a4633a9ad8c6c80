/**
 * Builds what is missing, then runs a program of this workspace: `node benchmarks/bin/run.mjs bench --runs 3`.
 * The build's messages go to standard error.
 */
import { requireSupportedNode } from "../../scripts/lib/node-version.mjs";

requireSupportedNode();
const { ensureBuilt } = await import("../../scripts/lib/build.mjs");
const { ensureInstalled } = await import("../../scripts/lib/install.mjs");
const { repository, runNode } = await import("../../scripts/lib/run.mjs");

const [program, ...args] = process.argv.slice(2);
await ensureInstalled();
if (await ensureBuilt({ all: true })) {
  process.exitCode = await runNode(`${repository}/benchmarks/dist/${program}-main.js`, args, {
    cwd: process.env.INIT_CWD ?? process.cwd(),
    stdio: "inherit",
  });
} else {
  console.error("The build failed: see above.");
  process.exitCode = 1;
}
