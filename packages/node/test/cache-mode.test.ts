import { createHook } from "node:async_hooks";
import fs from "node:fs/promises";
import { tmpdir } from "node:os";
import { execa } from "execa";
import { describe, expect, it } from "vitest";
import type { CacheMode } from "../src/file/cache-mode.ts";
import { FileStorage } from "../src/file/file-storage.ts";
import { loadLibc } from "../src/native/libc.ts";
import { TargetFile } from "../src/target/target-file.ts";
import { incompressible } from "./bytes.ts";
import { whyNot } from "./host-tools.ts";
import { useTemporaryDirectory } from "./temporary-directory.ts";

const inDirectory = useTemporaryDirectory();
const SIZE = 4 * 2 ** 20;
const content = incompressible(SIZE, 1);

/** O_DSYNC on Linux, as /proc shows the flags of a descriptor. */
const DSYNC = 0o10000;
const isLinux = process.platform === "linux";
const noFincore =
  (await whyNot("fincore", ["--version"])) ??
  ((await loadLibc())?.dropCache === undefined ? "no posix_fadvise" : undefined) ??
  (await cacheIsNotAsked());

/** tmpfs keeps everything in memory: there is nothing to give up. */
async function cacheIsNotAsked(): Promise<string | undefined> {
  const { stdout } = await execa("stat", ["-f", "-c", "%T", tmpdir()], {
    reject: false,
  });
  return stdout === "tmpfs" ? "the temporary directory is in memory" : undefined;
}

async function cachedBytes(file: string): Promise<number> {
  const { stdout } = await execa("fincore", ["--bytes", "--noheadings", "--output", "RES", file]);
  return Number(stdout);
}

async function flagsOf(file: string): Promise<number> {
  for (const descriptor of await fs.readdir("/proc/self/fd")) {
    const target = await fs.readlink(`/proc/self/fd/${descriptor}`).catch(() => "");
    if (target !== file) continue;
    const info = await fs.readFile(`/proc/self/fdinfo/${descriptor}`, "utf8");
    return Number.parseInt(/flags:\s*(\d+)/.exec(info)![1]!, 8);
  }
  throw new Error(`${file} is not open`);
}

/** How many requests to the host `work` makes. */
async function hostRequests(work: () => Promise<void>): Promise<number> {
  let count = 0;
  const hook = createHook({
    init: (_id, type) => {
      if (type === "FSREQCALLBACK" || type === "FSREQPROMISE") count++;
    },
  });
  hook.enable();
  await work();
  hook.disable();
  return count;
}

describe.each<CacheMode>(["writeback", "writethrough", "none", "directsync", "unsafe"])("%s", (cache) => {
  it("writes and reads the same bytes", async () => {
    const file = inDirectory("file");
    await using storage = await FileStorage.open(file, { create: true, cache });
    await storage.write(0, content);
    await storage.write(1000, new Uint8Array(5000));
    await storage.flush();
    const into = new Uint8Array(SIZE);
    expect(await storage.read(0, into)).toBe(SIZE);
    const expected = Buffer.from(content);
    expected.fill(0, 1000, 6000);
    expect(expected.equals(into)).toBe(true);
    expect(expected.equals(await fs.readFile(file))).toBe(true);
  });

  it.runIf(isLinux)("asks the host for durable writes, or does not", async () => {
    const file = inDirectory("file");
    await using _storage = await FileStorage.open(file, { create: true, cache });
    const isDurable = ((await flagsOf(file)) & DSYNC) !== 0;
    expect(isDurable).toBe(cache === "writethrough" || cache === "directsync");
  });

  it("flushes, or does not", async () => {
    await using storage = await FileStorage.open(inDirectory("file"), { create: true, cache });
    await storage.write(0, content);
    // The first flush makes the new name durable, too.
    await storage.flush();
    await storage.write(0, content);
    expect(await hostRequests(() => storage.flush())).toBe(cache === "unsafe" ? 0 : 1);
  });

  it.skipIf(noFincore !== undefined)(
    `leaves the file in the host's cache, or not${noFincore === undefined ? "" : ` (${noFincore})`}`,
    async () => {
      const file = inDirectory("file");
      await using storage = await FileStorage.open(file, { create: true, cache });
      await storage.write(0, content);
      await storage.flush();
      const isDropped = cache === "none" || cache === "directsync";
      expect(await cachedBytes(file)).toBe(isDropped ? 0 : SIZE);
      // By others, as if a machine were using it.
      await fs.readFile(file);
      await storage.read(0, new Uint8Array(SIZE / 2));
      expect(await cachedBytes(file)).toBe(isDropped ? SIZE / 2 : SIZE);
    },
  );

  it("makes a new file that is complete when it has its name", async () => {
    const target = await TargetFile.create(inDirectory("target"), { cache });
    await target.storage.write(0, content);
    await target.commit();
    expect(Buffer.from(content).equals(await fs.readFile(inDirectory("target")))).toBe(true);
  });
});

it("what waits for a flush is bounded, however much is written", async () => {
  await using storage = await FileStorage.open(inDirectory("file"), { create: true, cache: "none" });
  // The first flush makes the new name durable, too.
  await storage.flush();
  const chunk = new Uint8Array(8 * 2 ** 20).fill(7);
  const libc = await loadLibc();
  const requests = await hostRequests(async () => {
    for (let index = 0; index < 8; index++) await storage.write(index * chunk.length, chunk);
  });
  // Eight writes, and a flush for every 32 MiB.
  expect(requests).toBe(libc?.dropCache === undefined ? 8 : 10);
});

it("a failed open says so in every mode", async () => {
  const open = FileStorage.open(inDirectory("missing/file"), { create: true, cache: "directsync" });
  await expect(open).rejects.toMatchObject({ code: "io", data: { errno: "ENOENT" } });
});
