/**
 * `npm run release`, which only the release workflow runs: publishes the packages whose version is new. A provenance
 * statement names the repository that built a package, and npm holds the manifest against it, so the manifests get
 * that address here, from the workflow's environment; the sources name no host.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { requireSupportedNode } from "./lib/node-version.mjs";
import { repository, runNode } from "./lib/run.mjs";

requireSupportedNode();

const { GITHUB_REPOSITORY, GITHUB_SERVER_URL } = process.env;
if (GITHUB_REPOSITORY === undefined || GITHUB_SERVER_URL === undefined) {
  console.error("Publishing is done by the release workflow: see CONTRIBUTING.md.");
  process.exit(1);
}
for (const directory of ["packages/core", "packages/node", "packages/convert", "packages/zstd", "apps/cli"]) {
  const path = `${repository}/${directory}/package.json`;
  const manifest = JSON.parse(readFileSync(path, "utf8"));
  manifest.repository = { type: "git", url: `git+${GITHUB_SERVER_URL}/${GITHUB_REPOSITORY}.git`, directory };
  writeFileSync(path, `${JSON.stringify(manifest, null, 2)}\n`);
}
process.exitCode = await runNode("node_modules/@changesets/cli/bin.js", ["publish"], { stdio: "inherit" });
