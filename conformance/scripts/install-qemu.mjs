#!/usr/bin/env node
/**
 * Makes real QEMU tools available to the conformance suite without touching the system's own: each release is
 * unpacked from Debian's packages into a cache folder and run from there through its own dynamic loader.
 *
 *   node conformance/scripts/install-qemu.mjs [--all] [RELEASE...]
 *
 * Needs Linux with apt, and root or a sudo that asks nothing (mmdebstrap is installed if it is missing). Elsewhere
 * the suite uses the qemu-img on PATH, if there is one; this script then says so and exits with 0, because a
 * missing judge is no failure: the tests that need it are left out by name.
 *
 * Environment: QCOW2_CONFORMANCE_CACHE (the folder; default .cache/qemu in the repository),
 * QCOW2_CONFORMANCE_RELEASES (what to fetch, comma-separated; empty for none).
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { asRoot, cache, ensureMmdebstrap, lastLine, onPath, rootPrefix } from "./lib/debian.mjs";
import { ensureStrace } from "./lib/strace.mjs";

/** Changes when what is unpacked changes, so that an older cache is replaced. */
const RECIPE = 1;

/** Debian release -> what to unpack. The first is the release whose answers ours must equal. */
const RELEASES = {
  trixie: { qemu: "10.0", suite: "trixie", include: "qemu-utils", byDefault: true },
  bookworm: { qemu: "7.2", suite: "bookworm", include: "qemu-utils", byDefault: true },
  "trixie-backports": {
    qemu: "11.1",
    suite: "trixie",
    include: "qemu-utils/trixie-backports",
    // Backports hold no dependencies of their own: add them to the mirror that the release is taken from.
    setupHook: 'sed -i "/ trixie /{p; s/ trixie / trixie-backports /}" "$1/etc/apt/sources.list"',
    byDefault: true,
  },
  bullseye: { qemu: "5.2", suite: "bullseye", include: "qemu-utils", byDefault: false },
};

function isComplete(release) {
  try {
    return JSON.parse(readFileSync(join(cache, release, "stamp.json"), "utf8")).recipe === RECIPE;
  } catch {
    return false;
  }
}

/** Unpacks one release. The folder appears under its name only when it is complete. */
async function unpack(prefix, release) {
  const { suite, include, setupHook } = RELEASES[release];
  const final = join(cache, release);
  const partial = join(cache, `.${release}.${process.pid}`);
  try {
    const hook = setupHook === undefined ? [] : [`--setup-hook=${setupHook}`];
    const result = await asRoot(prefix, "mmdebstrap", [
      "--quiet",
      "--variant=extract",
      `--include=${include}`,
      ...hook,
      suite,
      partial,
    ]);
    if (!result.ok) return lastLine(result.stderr);
    if (prefix.length > 0) {
      const owner = `${process.getuid()}:${process.getgid()}`;
      await asRoot(prefix, "chown", ["-R", owner, partial]);
    }
    if (!existsSync(join(partial, "usr/bin/qemu-img"))) return "the packages hold no qemu-img";
    // Only what the tools need at run time: programs and libraries.
    for (const entry of readdirSync(partial)) {
      if (!["usr", "lib", "lib64"].includes(entry))
        rmSync(join(partial, entry), { recursive: true, force: true });
    }
    for (const entry of ["share", "include", "src", "games"]) {
      rmSync(join(partial, "usr", entry), { recursive: true, force: true });
    }
    writeFileSync(join(partial, "stamp.json"), `${JSON.stringify({ recipe: RECIPE, release })}\n`);
    rmSync(final, { recursive: true, force: true });
    renameSync(partial, final);
    return undefined;
  } catch (error) {
    // Two installers at once: whoever renames first wins, and the other's copy is the same.
    return isComplete(release) ? undefined : error.message;
  } finally {
    if (existsSync(partial)) await asRoot(prefix, "rm", ["-rf", partial]);
  }
}

function wantedReleases() {
  const named = process.argv.slice(2).filter((word) => word !== "--all");
  if (process.argv.includes("--all")) return Object.keys(RELEASES);
  if (named.length > 0) return named;
  const fromEnvironment = process.env.QCOW2_CONFORMANCE_RELEASES;
  if (fromEnvironment !== undefined) return fromEnvironment.split(",").filter((name) => name !== "");
  return Object.keys(RELEASES).filter((name) => RELEASES[name].byDefault);
}

/** @returns a reason if releases are missing that could not be had */
async function install(wanted) {
  const missing = wanted.filter((release) => !isComplete(release));
  if (missing.length === 0) return undefined;
  if (process.platform !== "linux" || !onPath("apt-get")) return "fetching them needs Linux with apt";
  const prefix = rootPrefix();
  if (prefix === undefined) return "fetching them needs root, or sudo without a password";
  const failure = await ensureMmdebstrap(prefix);
  if (failure !== undefined) return failure;
  mkdirSync(cache, { recursive: true });
  const reasons = await Promise.all(
    missing.map(async (release) => {
      const reason = await unpack(prefix, release);
      return reason === undefined ? undefined : `${release}: ${reason}`;
    }),
  );
  return reasons.filter((reason) => reason !== undefined).join("; ") || undefined;
}

const wanted = wantedReleases();
const unknown = wanted.filter((release) => !(release in RELEASES));
if (unknown.length > 0) {
  console.error(`unknown release '${unknown[0]}' (known: ${Object.keys(RELEASES).join(", ")})`);
  process.exit(1);
}
const reason = await install(wanted);
const present = wanted.filter(isComplete);
if (present.length > 0) {
  const list = present.map((release) => `${RELEASES[release].qemu} (${release})`).join(", ");
  console.log(`QEMU tools for the conformance tests: ${list} in ${cache}`);
}
if (reason !== undefined) {
  const absent = wanted.filter((release) => !isComplete(release)).map((release) => RELEASES[release].qemu);
  const system = onPath("qemu-img");
  const consequence =
    present.length > 0 || system
      ? `the cases against QEMU ${absent.join(", ")} are left out${present.length > 0 ? "" : "; the qemu-img on PATH is used"}`
      : "all conformance cases are left out; to run them: apt-get install qemu-utils, brew install qemu, or the like";
  console.log(`QEMU ${absent.join(", ")} not available (${reason}): ${consequence}`);
}

const strace = await ensureStrace();
if (strace.reason !== undefined) {
  console.log(
    `strace not available (${strace.reason}): the cases in which the kernel refuses calls are left out`,
  );
}
