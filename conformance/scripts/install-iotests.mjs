#!/usr/bin/env node
/**
 * Fetches QEMU's own test scripts out of Debian's source package, for `npm run iotests -w @qcow2/conformance`. They
 * are unpacked into the cache, run from there, and never become part of this repository.
 *
 *   node conformance/scripts/install-iotests.mjs
 *
 * Needs Linux with apt-get and tar, and Debian's keys. Where they cannot be had it says so and exits with 0, because
 * missing test scripts are no failure: whoever needs them leaves out what they test, by name.
 *
 * Environment: QCOW2_CONFORMANCE_CACHE (the folder; default .cache/qemu in the repository).
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { cache, ensureMmdebstrap, lastLine, onPath, rootPrefix, run } from "./lib/debian.mjs";

/** Changes when what is unpacked changes, so that an older cache is replaced. */
const RECIPE = 1;
/** The Debian release with the QEMU whose answers ours must equal. */
const SUITE = "trixie";
const MIRROR = "http://deb.debian.org/debian";
const KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg";
/** The scripts, and QEMU's Python modules that some of them use. */
const WANTED = ["*/tests/qemu-iotests", "*/python"];

const final = join(cache, "iotests-source");
const stamp = join(final, "source.json");

function installed() {
  try {
    const { recipe, version } = JSON.parse(readFileSync(stamp, "utf8"));
    return recipe === RECIPE ? version : undefined;
  } catch {
    return undefined;
  }
}

/** An apt of its own: the system's lists and sources stay as they are, and no root is needed. */
function aptConfiguration(folder) {
  for (const name of ["lists/partial", "cache/archives/partial", "download"]) {
    mkdirSync(join(folder, name), { recursive: true });
  }
  writeFileSync(join(folder, "sources.list"), `deb-src [signed-by=${KEYRING}] ${MIRROR} ${SUITE} main\n`);
  const settings = {
    "Dir::Etc::SourceList": join(folder, "sources.list"),
    "Dir::Etc::SourceParts": "-",
    "Dir::State::Lists": join(folder, "lists"),
    "Dir::State::Status": "/dev/null",
    "Dir::Cache": join(folder, "cache"),
    "Acquire::Languages": "none",
    "APT::Sandbox::User": "",
  };
  const file = join(folder, "apt.conf");
  writeFileSync(
    file,
    Object.entries(settings)
      .map(([name, value]) => `${name} "${value}";\n`)
      .join(""),
  );
  return file;
}

/** @returns a reason if the scripts are not there in the end */
async function install() {
  if (process.platform !== "linux" || !onPath("apt-get") || !onPath("tar")) {
    return "fetching them needs Linux with apt-get and tar";
  }
  if (!existsSync(KEYRING)) {
    const prefix = rootPrefix();
    if (prefix === undefined) return "Debian's keys are missing, and installing them needs root";
    const failure = await ensureMmdebstrap(prefix);
    if (failure !== undefined) return failure;
  }
  const work = join(cache, `.iotests.${process.pid}`);
  try {
    const env = { APT_CONFIG: aptConfiguration(work) };
    const download = join(work, "download");
    const source = join(work, "source");
    mkdirSync(source);
    const update = await run("apt-get", ["update", "-q"], { env });
    if (!update.ok) return lastLine(update.stderr);
    const get = await run("apt-get", ["source", "-q", "--download-only", "qemu"], { env, cwd: download });
    if (!get.ok) return lastLine(get.stderr);
    const archive = readdirSync(download).find((name) => /^qemu_.*\.orig\.tar\./.test(name));
    if (archive === undefined) return "the source package holds no archive";
    const unpack = ["-xf", join(download, archive), "-C", source, "--strip-components=1", "--wildcards"];
    const unpacked = await run("tar", [...unpack, ...WANTED]);
    if (!unpacked.ok) return lastLine(unpacked.stderr);
    const version = archive.replace(/^qemu_|\.orig\.tar\..*$/g, "");
    writeFileSync(join(source, "source.json"), `${JSON.stringify({ recipe: RECIPE, version })}\n`);
    rmSync(final, { recursive: true, force: true });
    renameSync(source, final);
    return undefined;
  } catch (error) {
    // Two installers at once: whoever renames first wins, and the other's copy is the same.
    return installed() === undefined ? error.message : undefined;
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

const reason = installed() === undefined ? await install() : undefined;
console.log(
  reason === undefined
    ? `QEMU's test scripts: ${installed()} in ${final}`
    : `QEMU's test scripts not available (${reason}): what they test is left out`,
);
