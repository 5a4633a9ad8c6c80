/** Makes a raw disk with a real operating system's files: a Debian tree in an ext4 file system. */
import { existsSync } from "node:fs";
import { open, rename, rm } from "node:fs/promises";
import { delimiter, join, resolve } from "node:path";
import { execa } from "execa";

export interface OsDiskOptions {
  /** Of the raw disk. It must not exist. */
  readonly output: string;
  /** Bytes; at least 2 GiB. */
  readonly size: number;
  /** The Debian release whose files are taken. */
  readonly suite: string;
}

/** What is missing, or what went wrong, and what to do about it: for the user, without a stack. */
export class OsDiskError extends Error {
  override readonly name = "OsDiskError";
}

export const DEFAULT_OS_DISK: Omit<OsDiskOptions, "output"> = { size: 10 * 2 ** 30, suite: "trixie" };

/** About 700 MiB of files: a kernel with its modules, compilers, scripts, documents, compressed archives. */
const PACKAGES = "linux-image-cloud-amd64,python3,perl,vim,git,g++";
/** The tree, ext4's own tables, and some room. */
const SMALLEST_BYTES = 2 * 2 ** 30;
const TIMEOUT_MS = 15 * 60_000;
/** Fixed, so that the same tree gives the same file system: no identifier and no time is drawn when the disk is made. */
const FILE_SYSTEM_UUID = "6f0a5d2e-1c7b-4b5e-9d43-0a2f6c1e8b01";
const HASH_SEED = "6f0a5d2e-1c7b-4b5e-9d43-0a2f6c1e8b02";
const EPOCH_SECONDS = "1735689600";

/** Logs and caches differ from run to run; `$1` is the tree. A constant text: the name reaches it as an argument. */
const MAKE_REPEATABLE = `set -e
rm -rf "$1"/var/log/* "$1"/var/cache/* "$1"/var/lib/apt/lists/*
find "$1" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +`;

/**
 * Makes the disk: sparse, with an ext4 file system over its whole length. It appears under its name only when it is
 * complete. Needs Linux, mmdebstrap, mke2fs, a Debian mirror, and root or a sudo that asks nothing.
 *
 * @throws OsDiskError
 */
export async function makeOsDisk(options: OsDiskOptions): Promise<void> {
  const output = resolve(options.output);
  if (options.size < SMALLEST_BYTES) throw new OsDiskError("the disk must be 2G or larger");
  if (existsSync(output)) throw new OsDiskError(`${output} exists already`);
  const tools = await findTools();
  const partial = `${output}.${process.pid}.partial`;
  const tree = `${output}.${process.pid}.tree`;
  const { asRoot } = tools;
  try {
    // Made here and not by mke2fs: so it belongs to the user although the tools may run as root.
    const file = await open(partial, "wx");
    await file.truncate(options.size);
    await file.close();
    await run([...asRoot, "mmdebstrap", ...unpackArguments(options.suite, tree)]);
    await run([...asRoot, "sh", "-c", MAKE_REPEATABLE, "sh", tree]);
    await run([...asRoot, tools.mke2fs, ...fileSystemArguments(tree, partial)]);
    await rename(partial, output);
  } finally {
    await rm(partial, { force: true });
    await run([...asRoot, "rm", "-rf", tree]);
  }
}

function unpackArguments(suite: string, tree: string): readonly string[] {
  const variant = ["--mode=root", "--variant=minbase", "--format=directory"];
  return ["--quiet", ...variant, `--include=${PACKAGES}`, suite, tree];
}

function fileSystemArguments(tree: string, disk: string): readonly string[] {
  const extended = `hash_seed=${HASH_SEED},nodiscard,lazy_itable_init=1,lazy_journal_init=1,root_owner=0:0`;
  const fixed = ["-b", "4096", "-L", "osdisk", "-U", FILE_SYSTEM_UUID, "-E", extended];
  return ["-q", "-F", "-t", "ext4", ...fixed, "-d", tree, disk];
}

interface Tools {
  readonly mke2fs: string;
  /** The words before a command that needs root. */
  readonly asRoot: readonly string[];
}

async function findTools(): Promise<Tools> {
  if (process.platform !== "linux") throw new OsDiskError("making this disk needs Linux");
  const mke2fs = findProgram("mke2fs");
  const missing = [
    ...(findProgram("mmdebstrap") === undefined ? ["mmdebstrap"] : []),
    ...(mke2fs === undefined ? ["e2fsprogs"] : []),
  ];
  if (mke2fs === undefined || missing.length > 0) {
    throw new OsDiskError(`missing: ${missing.join(", ")} (apt-get install ${missing.join(" ")})`);
  }
  return { mke2fs, asRoot: await findRootPrefix() };
}

/** mke2fs is often in a folder that a user's PATH leaves out. */
function findProgram(name: string): string | undefined {
  return [...(process.env.PATH ?? "").split(delimiter), "/usr/sbin", "/sbin"]
    .filter((folder) => folder !== "")
    .map((folder) => join(folder, name))
    .find((path) => existsSync(path));
}

async function findRootPrefix(): Promise<readonly string[]> {
  if (process.getuid?.() === 0) return [];
  const sudo = await execa("sudo", ["-n", "true"], { reject: false, stdio: "ignore", timeout: 10_000 });
  if (sudo.exitCode === 0) return ["sudo", "-n"];
  throw new OsDiskError(
    "not permitted: unpacking an operating system needs root, or sudo without a password",
  );
}

async function run(words: readonly string[]): Promise<void> {
  const env = {
    SOURCE_DATE_EPOCH: EPOCH_SECONDS,
    // What mke2fs before 1.47.1 reads instead.
    E2FSPROGS_FAKE_TIME: EPOCH_SECONDS,
    DEBIAN_FRONTEND: "noninteractive",
  };
  const sudo = words[0] === "sudo" ? 2 : 0;
  // As arguments of env and not as our environment, which sudo does not pass on.
  const variables = Object.entries(env).map(([name, value]) => `${name}=${value}`);
  const [program = "env", ...args] = [...words.slice(0, sudo), "env", ...variables, ...words.slice(sudo)];
  const result = await execa(program, args, {
    reject: false,
    stdin: "ignore",
    stdout: "ignore",
    stderr: "pipe",
    timeout: TIMEOUT_MS,
  });
  if (result.exitCode === 0) return;
  const lastLines = result.stderr.trim().split("\n").slice(-8).join("\n");
  const ending = result.timedOut ? "did not end in time" : `failed (exit code ${result.exitCode})`;
  throw new OsDiskError(`${words[sudo]} ${ending}${lastLines === "" ? "" : `:\n${lastLines}`}`);
}
