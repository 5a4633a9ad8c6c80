import fs from "node:fs/promises";
import { type CreateOptions, isQcow2Error, Qcow2Image } from "@qcow2/core";
import { execa } from "execa";
import { afterEach, describe, expect, it, vi } from "vitest";
import { FileStorage } from "../src/file/file-storage.ts";
import type { LockMode } from "../src/locks/image-locks.ts";
import { loadLibc } from "../src/native/libc.ts";
import { imageInfo } from "../src/open/image-info.ts";
import { openDisk } from "../src/open/open-disk.ts";
import { fileReferences } from "../src/references/file-references.ts";
import { whyNot } from "./host-tools.ts";
import { useTemporaryDirectory } from "./temporary-directory.ts";

const inDirectory = useTemporaryDirectory();
const hasNativeCalls = (await loadLibc()) !== undefined;
const noQemuIo = await whyNot("qemu-io", ["--version"]);
const noQemuNbd = await whyNot("qemu-nbd", ["--version"]);

async function lockedBy(work: Promise<{ close(): Promise<void> }>): Promise<boolean> {
  try {
    await (await work).close();
    return false;
  } catch (error) {
    if (isQcow2Error(error, "locked")) return true;
    throw error;
  }
}

async function useByOthers(path: string): Promise<string | undefined> {
  await using storage = await FileStorage.open(path, { readOnly: true, lock: "none" });
  return storage.useByOthers();
}

describe.skipIf(!hasNativeCalls)("image locks between our own openings", () => {
  // Rows hold, columns come later: does the second opening fail?
  const conflicts: Readonly<Record<LockMode, Readonly<Record<LockMode, boolean>>>> = {
    none: { none: false, shared: false, consistent: false, write: false },
    shared: { none: false, shared: false, consistent: false, write: false },
    consistent: { none: false, shared: false, consistent: false, write: true },
    write: { none: false, shared: false, consistent: true, write: true },
  };
  const modes = Object.keys(conflicts) as LockMode[];
  it.each(
    modes.flatMap((first) => modes.map((second) => ({ first, second, fails: conflicts[first][second] }))),
  )("$first, then $second: locked is $fails", async ({ first, second, fails }) => {
    const path = inDirectory("a.img");
    await fs.writeFile(path, "content");
    const open = (lock: LockMode) => FileStorage.open(path, { lock, readOnly: lock !== "write" });
    const holder = await open(first);
    expect(await lockedBy(open(second))).toBe(fails);
    await holder.close();
    expect(await lockedBy(open(second)), "the locks end with the opening").toBe(false);
  });

  it("follow readOnly and forceShare by default", async () => {
    const path = inDirectory("a.img");
    await using _writer = await FileStorage.open(path, { create: true });
    expect(await lockedBy(FileStorage.open(path))).toBe(true);
    expect(await lockedBy(FileStorage.open(path, { readOnly: true }))).toBe(true);
    expect(await lockedBy(FileStorage.open(path, { readOnly: true, forceShare: true }))).toBe(false);
  });

  it("tell what others do, without a lock of the one who asks", async () => {
    const path = inDirectory("a.img");
    await using _one = await FileStorage.open(path, { create: true, lock: "none" });
    await using asking = await FileStorage.open(path, { readOnly: true, lock: "none" });
    expect(asking.useByOthers()).toBe("nothing");
    const expected = { none: "nothing", shared: "reading", consistent: "reading", write: "writing" } as const;
    for (const lock of modes) {
      await using _holder = await FileStorage.open(path, { lock, readOnly: lock !== "write" });
      expect(asking.useByOthers(), lock).toBe(expected[lock]);
    }
    expect(asking.useByOthers()).toBe("nothing");
  });

  it("are every file's of a chain: what is copied from is not written meanwhile", async () => {
    const raw = inDirectory("base.raw");
    await fs.writeFile(raw, Buffer.alloc(65_536));
    const references = fileReferences();
    const create = async (name: string, options: Partial<CreateOptions>) => {
      const storage = await FileStorage.open(inDirectory(name), { create: true });
      await (await Qcow2Image.create({ storage, size: 65_536, references, ...options })).close();
    };
    await create("overlay.qcow2", { backingFile: { name: raw, format: "raw" } });
    await create("top.qcow2", { backingFile: { name: "overlay.qcow2", format: "qcow2" } });
    for (const name of ["base.raw", "overlay.qcow2", "top.qcow2"]) {
      const path = inDirectory(name);
      await using writer = await FileStorage.open(raw);
      expect(await lockedBy(openDisk({ path, readOnly: true })), name).toBe(true);
      expect(await lockedBy(openDisk({ path, readOnly: true, allowWriters: true })), name).toBe(false);
      expect(await lockedBy(openDisk({ path, readOnly: true, forceShare: true })), name).toBe(false);
      await writer.close();
      await using _reader = await openDisk({ path, readOnly: true });
      expect(await lockedBy(FileStorage.open(raw)), name).toBe(true);
    }
  });

  it("name the file that is in use", async () => {
    const path = inDirectory("a.img");
    await using _writer = await FileStorage.open(path, { create: true });
    await expect(FileStorage.open(path, { readOnly: true })).rejects.toMatchObject({
      message: 'Failed to get shared "write" lock',
      data: { name: path },
    });
  });
});

describe("image locks without native calls", () => {
  afterEach(() => void vi.unstubAllEnvs());

  it("are not taken, and nothing fails for it", async () => {
    vi.stubEnv("QCOW2_NO_FFI", "1");
    const path = inDirectory("a.img");
    await using first = await FileStorage.open(path, { create: true });
    await using second = await FileStorage.open(path);
    expect([first.lock("write"), second.lock("write")]).toEqual([false, false]);
    expect(first.useByOthers()).toBeUndefined();
  });
});

const hasKernelsList = process.platform === "linux" && hasNativeCalls;
const reason = hasKernelsList ? noQemuIo : "no native calls, or no list of locks to compare with";
describe.skipIf(reason !== undefined)(
  `image locks beside a running QEMU${reason === undefined ? "" : ` (${reason})`}`,
  () => {
    const image = async (format: string): Promise<string> => {
      const path = inDirectory(`image.${format}`);
      await execa("qemu-img", ["create", "-q", "-f", format, path, "10M"]);
      return path;
    };

    it.each([
      { format: "qcow2", options: [], mode: "write" },
      { format: "qcow2", options: ["-r"], mode: "consistent" },
      { format: "qcow2", options: ["-r", "-U"], mode: "shared" },
      { format: "raw", options: ["-r"], mode: "shared" },
    ] as const)(
      "are the very bytes of qemu-io -f $format $options in mode $mode",
      async ({ format, options, mode }) => {
        const path = await image(format);
        const theirs = await holdWithQemuIo(path, format, options, () => lockedBytes(path));
        await using _ours = await FileStorage.open(path, { lock: mode, readOnly: mode !== "write" });
        expect(theirs.length).toBeGreaterThan(0);
        expect(await lockedBytes(path)).toEqual(theirs);
      },
    );

    it("make us fail while QEMU writes, and let us in with forceShare", async () => {
      const path = await image("qcow2");
      await holdWithQemuIo(path, "qcow2", [], async () => {
        expect(await lockedBy(openDisk({ path }))).toBe(true);
        expect(await lockedBy(openDisk({ path, readOnly: true }))).toBe(true);
        expect(await lockedBy(openDisk({ path, readOnly: true, forceShare: true }))).toBe(false);
        expect(await useByOthers(path)).toBe("writing");
      });
      expect(await lockedBy(openDisk({ path }))).toBe(false);
    });

    it("let us read beside a QEMU that reads, and not write", async () => {
      const path = await image("qcow2");
      await holdWithQemuIo(path, "qcow2", ["-r"], async () => {
        expect(await lockedBy(openDisk({ path, readOnly: true }))).toBe(false);
        expect(await lockedBy(FileStorage.open(path))).toBe(true);
        expect(await useByOthers(path)).toBe("reading");
      });
      expect(await useByOthers(path)).toBe("nothing");
    });

    it("make QEMU fail while we write or read", async () => {
      const path = await image("qcow2");
      const qemuIo = (...options: readonly string[]) =>
        execa("qemu-io", [...options, "-f", "qcow2", "-c", "read 0 512", path], { reject: false, all: true });
      await using writer = await FileStorage.open(path);
      for (const options of [["-r"], []]) {
        const { exitCode, all } = await qemuIo(...options);
        expect(exitCode).toBe(1);
        expect(all).toMatch(/lock/);
      }
      expect((await qemuIo("-r", "-U")).exitCode).toBe(0);
      await writer.close();

      await using reader = await openDisk({ path, readOnly: true });
      expect((await qemuIo("-r")).exitCode).toBe(0);
      expect((await qemuIo()).all).toMatch(/lock/);
      await reader.close();
      expect((await qemuIo()).exitCode).toBe(0);
    });

    describe.each([
      { what: "a raw image", opened: "raw" },
      { what: "a raw image of no recorded format", opened: "raw", format: undefined },
      { what: "a raw backing file", opened: "overlay.qcow2" },
      { what: "a raw backing file two layers below", opened: "top.qcow2" },
      { what: "an external data file", opened: "apart.qcow2" },
    ])("on $what", (shape) => {
      const format = "format" in shape ? undefined : shape.opened === "raw" ? "raw" : "qcow2";

      /** The raw file that is written, and what is opened to read it. */
      async function chain(): Promise<{ readonly raw: string; readonly path: string }> {
        const raw = await image("raw");
        const create = (...args: readonly string[]) =>
          execa("qemu-img", ["create", "-q", "-f", "qcow2", ...args]);
        await create("-b", raw, "-F", "raw", inDirectory("overlay.qcow2"));
        await create("-b", inDirectory("overlay.qcow2"), "-F", "qcow2", inDirectory("top.qcow2"));
        await create("-o", `data_file=${raw},data_file_raw=on`, inDirectory("apart.qcow2"), "10M");
        return { raw, path: shape.opened === "raw" ? raw : inDirectory(shape.opened) };
      }

      it("nobody reads beside a writer who did not ask for that", async () => {
        const { raw, path } = await chain();
        await holdWithQemuIo(raw, "raw", [], async () => {
          expect(await lockedBy(openDisk({ path, format, readOnly: true }))).toBe(true);
          expect(await lockedBy(openDisk({ path, format, readOnly: true, allowWriters: true }))).toBe(false);
          expect(await lockedBy(openDisk({ path, format, readOnly: true, forceShare: true }))).toBe(false);
        });
        expect(await lockedBy(openDisk({ path, format, readOnly: true }))).toBe(false);
      });

      it("a writer begins beside a reader only if that allows it", async () => {
        const { raw, path } = await chain();
        const write = () =>
          execa("qemu-io", ["-f", "raw", "-c", "write 0 512", raw], { reject: false, all: true });
        await using reader = await openDisk({ path, format, readOnly: true });
        expect((await write()).all).toMatch(/Failed to get "write" lock/);
        await reader.close();
        await using onlooker = await openDisk({ path, format, readOnly: true, allowWriters: true });
        expect((await write()).exitCode).toBe(0);
        await onlooker.close();
      });
    });

    it("allowWriters is nothing to a qcow2 image, and nothing to who writes", async () => {
      const path = await image("qcow2");
      await holdWithQemuIo(path, "qcow2", [], async () => {
        expect(await lockedBy(openDisk({ path, readOnly: true, allowWriters: true }))).toBe(true);
      });
      const raw = await image("raw");
      await holdWithQemuIo(raw, "raw", [], async () => {
        expect(await lockedBy(openDisk({ path: raw, format: "raw", allowWriters: true }))).toBe(true);
      });
    });

    it("a look at a raw image does not mind who writes to it, as in QEMU", async () => {
      const path = await image("raw");
      await holdWithQemuIo(path, "raw", [], async () => {
        expect((await imageInfo({ path })).format).toBe("raw");
      });
    });

    it.skipIf(noQemuNbd !== undefined)("respect a qemu-nbd that exports the image", async () => {
      const path = await image("qcow2");
      const socket = inDirectory("nbd.sock");
      const server = execa("qemu-nbd", ["--persistent", "-f", "qcow2", "-k", socket, path], {
        reject: false,
      });
      try {
        await vi.waitFor(() => fs.access(socket), { timeout: 10_000 });
        expect(await lockedBy(openDisk({ path, readOnly: true }))).toBe(true);
      } finally {
        server.kill();
        await server;
      }
      expect(await lockedBy(openDisk({ path, readOnly: true }))).toBe(false);
    });
  },
);

/** Runs `work` while qemu-io has `path` open. */
async function holdWithQemuIo<T>(
  path: string,
  format: string,
  options: readonly string[],
  work: () => Promise<T>,
): Promise<T> {
  const holder = execa("qemu-io", [...options, "-f", format, path], { stdin: "pipe", reject: false });
  try {
    // The prompt comes when the image is open.
    await new Promise<void>((resolve, reject) => {
      holder.stdout.on("data", (text) => String(text).includes("qemu-io>") && resolve());
      holder.then(({ all, stderr }) => reject(new Error(`qemu-io ended: ${all ?? stderr}`)));
    });
    return await work();
  } finally {
    holder.stdin.end("quit\n");
    await holder;
  }
}

/** The bytes of `path` that anyone has locked, as the kernel lists them. */
async function lockedBytes(path: string): Promise<readonly number[]> {
  const { ino } = await fs.stat(path);
  const bytes: number[] = [];
  for (const line of (await fs.readFile("/proc/locks", "utf8")).split("\n")) {
    const [, first, last] = new RegExp(`:${ino} (\\d+) (\\d+)$`).exec(line) ?? [];
    for (let byte = Number(first); byte <= Number(last); byte++) bytes.push(byte);
  }
  return bytes.sort((a, b) => a - b);
}
