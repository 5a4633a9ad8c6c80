/** What the install scripts share: starting programs, becoming root without asking, and Debian's own tools. */
import { spawn, spawnSync } from "node:child_process";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

const TIMEOUT_MS = 180_000;

const repository = resolve(dirname(fileURLToPath(import.meta.url)), "../../..");

/** Everything that is fetched goes here. */
export const cache = resolve(process.env.QCOW2_CONFORMANCE_CACHE ?? join(repository, ".cache/qemu"));

/** Runs to the end; never through a shell. */
export function run(command, args, options = {}) {
  return new Promise((done) => {
    const child = spawn(command, args, {
      stdio: ["ignore", "ignore", "pipe"],
      timeout: TIMEOUT_MS,
      ...options,
      env: { ...process.env, DEBIAN_FRONTEND: "noninteractive", ...options.env },
    });
    let stderr = "";
    child.stderr.on("data", (chunk) => {
      stderr = (stderr + chunk).slice(-4000);
    });
    child.on("error", (error) => done({ ok: false, stderr: error.message }));
    child.on("close", (code) => done({ ok: code === 0, stderr }));
  });
}

export function onPath(command) {
  return spawnSync(command, ["--version"], { stdio: "ignore" }).status === 0;
}

/** The words to put before a command that needs root, or undefined if root cannot be had without asking. */
export function rootPrefix() {
  if (process.getuid?.() === 0) return [];
  const sudo = spawnSync("sudo", ["-n", "true"], { stdio: "ignore", timeout: 10_000 });
  return sudo.status === 0 ? ["sudo", "-n"] : undefined;
}

export async function asRoot(prefix, command, args) {
  const [first, ...rest] = [...prefix, command, ...args];
  return await run(first, rest);
}

/** Debian's keys come with it. @returns a reason if there is no mmdebstrap in the end */
export async function ensureMmdebstrap(prefix) {
  if (onPath("mmdebstrap")) return undefined;
  const install = ["install", "-y", "--no-install-recommends", "mmdebstrap", "debian-archive-keyring"];
  // Package lists may be missing or stale on a fresh machine: then the first try fails, and an update cures it.
  if ((await asRoot(prefix, "apt-get", install)).ok) return undefined;
  await asRoot(prefix, "apt-get", ["update", "-q"]);
  const second = await asRoot(prefix, "apt-get", install);
  return second.ok ? undefined : `apt-get could not install mmdebstrap (${lastLine(second.stderr)})`;
}

export function lastLine(text) {
  return text.trim().split("\n").at(-1) ?? "";
}
