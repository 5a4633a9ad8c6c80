/** Builds if sources changed since the last build. */
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { repository, runNode } from "./run.mjs";

const STAMP = join(repository, ".cache/build-stamp");

/** The workspaces that `npm start` runs: the packages and the apps. */
function workspaces() {
  return ["packages", "apps"].flatMap((parent) =>
    readdirSync(join(repository, parent))
      .map((name) => join(parent, name))
      .filter((folder) => existsSync(join(repository, folder, "tsconfig.build.json"))),
  );
}

/** @param {string} folder @returns {string[]} Paths of all files below it, relative to it, in a fixed order. */
function filesBelow(folder) {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath ?? entry.path, entry.name).slice(folder.length + 1))
    .sort();
}

/** A workspace whose output is a bundle, with files of its own making. @param {string} workspace */
function isBundled(workspace) {
  return existsSync(join(repository, workspace, "rolldown.config.ts"));
}

/** One hash over everything that the outputs depend on: sources, manifests, compiler and dependencies. */
function hashOfInputs() {
  const hash = createHash("sha256");
  /** @param {string} path */
  const add = (path) =>
    hash
      .update(`${path}\0`)
      .update(readFileSync(join(repository, path)))
      .update("\0");
  add("tsconfig.base.json");
  add("package-lock.json");
  for (const workspace of workspaces()) {
    const names = ["package.json", "tsconfig.json", "tsconfig.build.json"];
    if (isBundled(workspace)) names.push("rolldown.config.ts");
    for (const name of names) add(join(workspace, name));
    for (const folder of ["src", "bin", "bundle", "scripts"]) {
      for (const file of filesBelow(join(repository, workspace, folder))) add(join(workspace, folder, file));
    }
  }
  return hash.digest("hex");
}

/** Every source file has its output; of a bundle, only its entry has a name that is known. */
function outputsExist() {
  return workspaces().every((workspace) => {
    if (isBundled(workspace)) return existsSync(join(repository, workspace, "dist/run.cjs"));
    return filesBelow(join(repository, workspace, "src"))
      .filter((file) => file.endsWith(".ts") && !file.endsWith(".d.ts"))
      .every((file) => existsSync(join(repository, workspace, "dist", file.replace(/\.ts$/, ".js"))));
  });
}

/** Outputs whose source is gone would otherwise be published, and could be imported by mistake. */
function removeStaleOutputs() {
  for (const workspace of workspaces()) {
    if (isBundled(workspace)) {
      rmSync(join(repository, workspace, "dist"), { recursive: true, force: true });
      continue;
    }
    const sources = new Set(filesBelow(join(repository, workspace, "src")));
    for (const file of filesBelow(join(repository, workspace, "dist"))) {
      if (sources.has(file.replace(/\.(d\.ts|js|js\.map)$/, ".ts"))) continue;
      rmSync(join(repository, workspace, "dist", file));
    }
  }
}

/**
 * Builds what `npm start` runs, or with `all` every workspace; does nothing if the outputs are up to date.
 * @param {{ all?: boolean }} [options]
 * @returns {Promise<boolean>} False if the build failed; the compiler has said why on standard error.
 */
export async function ensureBuilt(options = {}) {
  const inputs = hashOfInputs();
  const stamp = existsSync(STAMP) ? readFileSync(STAMP, "utf8") : "";
  const upToDate = stamp === inputs && outputsExist();
  if (upToDate && options.all !== true) return true;
  if (!upToDate) console.error("Building ...");
  rmSync(STAMP, { force: true });
  removeStaleOutputs();
  const filters = options.all === true ? [] : ["--filter=./packages/*", "--filter=./apps/*"];
  const exitCode = await runTurbo(["run", "build", ...filters]);
  if (exitCode !== 0) return false;
  mkdirSync(join(repository, ".cache"), { recursive: true });
  writeFileSync(STAMP, inputs);
  return true;
}

/** @param {readonly string[]} args @returns {Promise<number>} The exit code. */
export function runTurbo(args) {
  return runNode("node_modules/turbo/bin/turbo", [...args, "--output-logs=errors-only", "--ui=stream"], {
    quiet: true,
    env: { ...process.env, TURBO_TELEMETRY_DISABLED: "1", TURBO_NO_UPDATE_NOTIFIER: "1" },
  });
}
