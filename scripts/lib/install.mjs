/** Installs the dependencies if node_modules is not what package-lock.json says. */
import { spawn } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { repository, runNode } from "./run.mjs";

/**
 * True if npm's own record of what is in node_modules agrees with package-lock.json. npm writes the record last, so an
 * installation that was interrupted has none.
 * @param {string} [folder] Where package-lock.json is.
 */
export function isInstalled(folder = repository) {
  const wanted = readLock(join(folder, "package-lock.json"));
  const present = readLock(join(folder, "node_modules/.package-lock.json"));
  if (wanted === undefined || present === undefined) return false;
  return Object.entries(wanted).every(([path, entry]) => {
    if (path === "") return true;
    const found = present[path];
    // Optional packages for other platforms are not installed here.
    if (found === undefined) return entry.optional === true || entry.devOptional === true;
    // Workspaces are folders of this repository: present is enough.
    return (
      !path.includes("node_modules/") ||
      (found.version === entry.version && found.integrity === entry.integrity)
    );
  });
}

/** @param {string} path @returns {Record<string, any> | undefined} */
function readLock(path) {
  try {
    return JSON.parse(readFileSync(path, "utf8")).packages;
  } catch {
    return undefined;
  }
}

/** Installs if needed; ends the process with a sentence if npm fails. */
export async function ensureInstalled() {
  if (isInstalled()) return;
  console.error("Installing dependencies (npm ci) ...");
  // Whatever the caller's configuration omits, building needs the development dependencies.
  const exitCode = await runNpm(["ci", "--include=dev", "--include=optional", "--loglevel=error"]);
  if (exitCode === 0 && isInstalled()) return;
  console.error(
    `npm ci failed (exit code ${exitCode}): see its messages above. It needs the npm registry once.`,
  );
  process.exit(1);
}

/**
 * Runs the npm that started us, or else the one that came with this Node.js, or else the one on PATH.
 * @param {readonly string[]} args
 * @returns {Promise<number>} The exit code.
 */
function runNpm(args) {
  const beside = [
    process.env.npm_execpath,
    join(process.execPath, "../node_modules/npm/bin/npm-cli.js"),
    join(process.execPath, "../../lib/node_modules/npm/bin/npm-cli.js"),
  ].find((path) => path?.endsWith("npm-cli.js") && existsSync(path));
  if (beside !== undefined) return runNode(beside, args);
  return new Promise((resolve, reject) => {
    const child = spawn("npm", args, { cwd: repository, stdio: ["ignore", 2, 2] });
    child.on("error", reject);
    child.on("close", (code) => resolve(code ?? 1));
  });
}
