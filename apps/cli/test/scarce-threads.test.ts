/** The real host refuses threads and address space: the bytes are right, or one line says what is missing. */
import { chmod, chown, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import zlib from "node:zlib";
import { execa } from "execa";
import { beforeAll, describe, expect, onTestFinished, test } from "vitest";
import { COMMAND, type Outcome, runHere } from "./run-command.ts";

/** Limits on processes do not hold for root, and count what one user runs: this one runs nothing else. */
const USER = 60000 + (process.pid % 5000);
/** What Node.js takes before any of this code runs, on one that has four threads for its compiler. */
const OF_NODE = 7;

let reason: string | undefined;

beforeAll(async () => {
  if (process.platform !== "linux" || process.getuid?.() !== 0)
    reason = "only root on Linux becomes somebody else";
  else {
    const tried = await limited(["--nproc=20"], ["--version"], tmpdir());
    if (tried.exitCode !== 0) reason = `no limits can be set here: ${tried.stderr}`;
  }
});

const AS_USER = [`--reuid=${USER}`, `--regid=${USER}`, "--clear-groups"];

/** Starts the command as a user of its own, under the limits of prlimit(1). */
function start(limits: readonly string[], args: readonly string[], cwd: string) {
  const command = [process.execPath, COMMAND, ...args];
  // Each of them becomes the next: the process is the command's.
  return execa("setpriv", [...AS_USER, "prlimit", "--core=0", ...limits, ...command], {
    cwd,
    reject: false,
    stripFinalNewline: false,
    timeout: 60_000,
  });
}

async function limited(limits: readonly string[], args: readonly string[], cwd: string): Promise<Outcome> {
  const { exitCode, signal, stdout, stderr } = await start(limits, args, cwd);
  return { exitCode, signal, stdout, stderr };
}

/** Resolves once a conversion has begun to write. */
async function begun({ path: folder }: Folder): Promise<void> {
  for (let attempt = 0; attempt < 800; attempt++) {
    if ((await readdir(folder)).some((name) => name.endsWith(".part"))) return;
    await sleep(20);
  }
  throw new Error("the conversion never began");
}

interface Folder {
  readonly path: string;
  readonly content: Buffer;
}

/** A folder of {@link USER} with a disk, raw and compressed with both libraries where there are both. */
async function folderOfUser(): Promise<Folder> {
  const folder = await mkdtemp(path.join(tmpdir(), "qcow2-scarce-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  const setUp = async (...args: string[]): Promise<void> => {
    expect(await runHere(folder, args)).toMatchObject({ exitCode: 0, stderr: "" });
  };
  await setUp("create", "-q", "-f", "raw", "disk.raw", "24M");
  const patterns = Array.from({ length: 40 }, (_, index) => `write -P ${index + 1} ${index * 600}k 300k`);
  await setUp("io", "-f", "raw", ...patterns.flatMap((words) => ["-c", words]), "disk.raw");
  await setUp("convert", "-c", "-O", "qcow2", "disk.raw", "zlib.qcow2");
  if ("zstdCompressSync" in zlib) {
    await setUp("convert", "-c", "-O", "qcow2", "-o", "compression_type=zstd", "disk.raw", "zstd.qcow2");
  }
  await chown(folder, USER, USER);
  await chmod(folder, 0o755);
  return { path: folder, content: await readFile(path.join(folder, "disk.raw")) };
}

const sources = "zstdCompressSync" in zlib ? ["zlib.qcow2", "zstd.qcow2"] : ["zlib.qcow2"];

/** Right bytes, or one line and nothing left. Answers which. */
async function expectRightOrOneLine({ path: folder, content }: Folder, outcome: Outcome): Promise<boolean> {
  const left = (await readdir(folder)).filter((name) => !/^(disk\.raw|\w+\.qcow2)$/.test(name));
  if (outcome.exitCode === 0) {
    expect(outcome.stderr).toBe("");
    expect(left).toEqual(["copy"]);
    await runHere(folder, ["convert", "-O", "raw", "copy", "copied.raw"]);
    expect((await readFile(path.join(folder, "copied.raw"))).equals(content)).toBe(true);
    for (const name of ["copy", "copied.raw"]) await rm(path.join(folder, name));
    return true;
  }
  expect(outcome).toMatchObject({ exitCode: 1, stderr: expect.stringMatching(/^qcow2: (?!internal).+\n$/) });
  expect(left).toEqual([]);
  return false;
}

const conversions: readonly (readonly string[])[] = [
  ...sources.map((source) => ["convert", "-O", "raw", source, "copy"]),
  ["convert", "-c", "-O", "qcow2", "disk.raw", "copy"],
];

describe("few threads", () => {
  test.for(conversions)("%s %s %s %s: as many as there are", async (args, context) => {
    context.skip(reason !== undefined, reason);
    const folder = await folderOfUser();
    // One for files and none for us; and some.
    for (const more of [1, 4]) {
      const outcome = await limited([`--nproc=${OF_NODE + more}`], args, folder.path);
      expect(outcome, `${more} more`).toMatchObject({ exitCode: 0, stderr: "" });
      expect(await expectRightOrOneLine(folder, outcome)).toBe(true);
    }
  });

  test("none at all is said, after some time", async (context) => {
    context.skip(reason !== undefined, reason);
    const folder = await folderOfUser();
    const outcome = await limited([`--nproc=${OF_NODE}`], conversions[0]!, folder.path);
    expect(outcome.stderr).toMatch(/no thread/);
    expect(await expectRightOrOneLine(folder, outcome)).toBe(false);
  });

  test.for(conversions)("%s %s %s %s: while another program takes and gives them", async (args, context) => {
    context.skip(reason !== undefined, reason);
    const folder = await folderOfUser();
    const other = execa("setpriv", [...AS_USER, process.execPath, "-e", TAKES_THREADS, folder.path]);
    onTestFinished(() => void other.kill());
    // It ends by being killed, which execa rejects with.
    other.catch(() => {});
    // Both programs, and what is left for files, for codecs and for the other's threads to fight for.
    const outcome = await limited([`--nproc=${2 * OF_NODE + 6}`], args, folder.path);
    other.kill();
    expect(await expectRightOrOneLine(folder, outcome)).toBe(true);
  });
});

/** As soon as a conversion has begun, takes some threads for tenths of a second, again and again. */
const TAKES_THREADS = `
  const { Worker } = require("node:worker_threads");
  const take = () => {
    for (let index = 0; index < 6; index++) {
      try {
        new Worker("setTimeout(() => {}, 150)", { eval: true, stdout: true, stderr: true }).on("error", () => {});
      } catch {
        // There is none to take just now: the next turn tries again.
      }
    }
  };
  setInterval(() => {
    if (require("node:fs").readdirSync(process.argv[1]).some((name) => name.endsWith(".part"))) take();
  }, 300);`;

describe("little address space", () => {
  test.for(conversions)("%s %s %s %s: threads where they fit, or one line", async (args, context) => {
    context.skip(reason !== undefined, reason);
    const folder = await folderOfUser();
    const { stdout } = await execa(process.execPath, [
      "-p",
      "fs.readFileSync('/proc/self/status', 'latin1')",
    ]);
    const ofNode = 1024 * Number(/^VmPeak:\s*(\d+)/m.exec(stdout)![1]);
    const answers: boolean[] = [];
    for (const more of [0.2, 0.7, 4]) {
      const outcome = await limited([`--as=${ofNode + Math.round(more * 2 ** 30)}`], args, folder.path);
      answers.push(await expectRightOrOneLine(folder, outcome));
    }
    expect(answers).toEqual([false, true, true]);
  });
});

test("few files: a worker that cannot be set up is done without", async (context) => {
  context.skip(reason !== undefined, reason);
  const folder = await folderOfUser();
  for (const files of [26, 34]) {
    const outcome = await limited([`--nofile=${files}`], conversions[0]!, folder.path);
    await expectRightOrOneLine(folder, outcome);
  }
});

// Windows has no signals that a program could end for in order.
describe.skipIf(process.platform === "win32")("signals", () => {
  test.each(["SIGINT", "SIGTERM"] as const)("%s is heard while workers never answer", async (signal) => {
    const folder = await folderOfUser();
    const hang = path.join(folder.path, "hang.qcow2.cjs");
    await writeFile(hang, `if (!require("node:worker_threads").isMainThread) for (;;);`);
    const running = execa(process.execPath, [COMMAND, "convert", "-O", "raw", "zlib.qcow2", "copy"], {
      cwd: folder.path,
      env: { NODE_OPTIONS: `--require ${hang}` },
      reject: false,
      timeout: 60_000,
    });
    await begun(folder);
    running.kill(signal);
    const { exitCode, signal: endedBy } = await running;
    // By itself once everything has come to its end, or when it was waited for long enough.
    expect([signal, signal === "SIGINT" ? 130 : 143]).toContain(endedBy ?? exitCode);
    expect((await readdir(folder.path)).filter((name) => /part$|copy/.test(name))).toEqual([]);
  });

  test("are heard while the calling thread compresses, where there are no others", async (context) => {
    context.skip(reason !== undefined, reason);
    const folder = await folderOfUser();
    const words = ["convert", "-c", "-r", "4M", "-O", "qcow2", "disk.raw", "copy"];
    const running = start([`--nproc=${OF_NODE + 1}`], words, folder.path);
    await begun(folder);
    running.kill("SIGTERM");
    expect((await running).signal).toBe("SIGTERM");
    expect((await readdir(folder.path)).filter((name) => /part$|copy/.test(name))).toEqual([]);
  });
});
