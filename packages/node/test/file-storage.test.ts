import { constants } from "node:fs";
import fs from "node:fs/promises";
import { type ErrorCode, isQcow2Error } from "@qcow2/core";
import { describeStorage } from "@qcow2/testing/suites";
import { execa } from "execa";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { FileStorage } from "../src/file/file-storage.ts";
import { loadLibc } from "../src/native/libc.ts";
import { incompressible } from "./bytes.ts";
import { whyNot, withLoopDevice, withSmallFileSystem } from "./host-tools.ts";
import { useTemporaryDirectory } from "./temporary-directory.ts";

const inDirectory = useTemporaryDirectory();
const MIB = 2 ** 20;
const hasNativeCalls = (await loadLibc()) !== undefined;
const tellsHoles = hasNativeCalls && process.platform === "linux";

const open = (name: string, options: Parameters<typeof FileStorage.open>[1] = {}) =>
  FileStorage.open(inDirectory(name), options);
const create = (name: string) => open(name, { create: true });

async function errorOf(
  work: Promise<unknown>,
): Promise<{ code: ErrorCode; errno?: string; message: string }> {
  const error: unknown = await work.then(
    () => expect.fail("it did not fail"),
    (reason: unknown) => reason,
  );
  if (!isQcow2Error(error)) throw error;
  return {
    code: error.code,
    message: error.message,
    ...(isQcow2Error(error, "io") ? { errno: error.data.errno! } : {}),
  };
}

describe.each([
  { name: "FileStorage", noFfi: process.env.QCOW2_NO_FFI ?? "" },
  { name: "FileStorage without FFI", noFfi: "1" },
])("$name", ({ name, noFfi }) => {
  beforeEach(() => void vi.stubEnv("QCOW2_NO_FFI", noFfi));
  afterEach(() => void vi.unstubAllEnvs());

  describeStorage(name, async () => ({
    storage: await create("subject.img"),
    reopen: () => open("subject.img", { readOnly: true, forceShare: true }),
  }));

  it("offers what needs native calls only where they are", async () => {
    await using storage = await create("a.img");
    const expected = noFfi === "" && tellsHoles;
    expect(storage.extentAt !== undefined).toBe(expected);
    expect(storage.punchHole !== undefined).toBe(expected);
    expect(storage.allocate !== undefined).toBe(expected);
  });

  it("is not opened for writing as a device that the host has a use of its own for", async ({ skip }) => {
    await fs.writeFile(inDirectory("device.img"), new Uint8Array(MIB));
    const reason = await withLoopDevice(inDirectory("device.img"), async (device) => {
      // As the kernel does for what is mounted.
      await using claim = await fs.open(device, constants.O_RDWR | constants.O_EXCL);
      for (const options of [{}, { create: true }]) {
        await expect(FileStorage.open(device, options)).rejects.toMatchObject({ code: "locked" });
      }
      await (await FileStorage.open(device, { readOnly: true })).close();
      await claim.close();
      await using storage = await FileStorage.open(device, { create: true });
      await expect(fs.open(device, constants.O_RDWR | constants.O_EXCL), "nobody mounts it").rejects.toThrow(
        "EBUSY",
      );
      await expect(FileStorage.open(device, { create: true, exclusive: true })).rejects.toMatchObject({
        data: { errno: "EEXIST" },
      });
      expect(storage.hasChanged()).toBe(false);
    });
    if (reason !== undefined) skip(reason);
  });

  it("tells whether somebody has written to it since it was opened", async () => {
    await fs.writeFile(inDirectory("a.img"), "content");
    await fs.utimes(inDirectory("a.img"), 1, 1);
    await using storage = await FileStorage.open(inDirectory("a.img"), { readOnly: true });
    await storage.read(0, new Uint8Array(7));
    expect(storage.hasChanged()).toBe(false);
    await using other = await fs.open(inDirectory("a.img"), "r+");
    await other.write("C");
    expect(storage.hasChanged()).toBe(true);
  });

  it("finds the size of a block device, and writes to it in place", async ({ skip }) => {
    await fs.writeFile(inDirectory("device.img"), new Uint8Array(3 * MIB + 512));
    const reason = await withLoopDevice(inDirectory("device.img"), async (device) => {
      await using storage = await FileStorage.open(device);
      expect(storage.kind).toBe("block-device");
      expect(await storage.size()).toBe(3 * MIB + 512);
      const bytes = incompressible(70_000, 1);
      await storage.write(4096, bytes);
      await storage.punchHole?.(8192, 4096);
      await storage.flush();
      const into = Buffer.alloc(70_000);
      expect(await storage.read(4096, into)).toBe(70_000);
      if (storage.punchHole !== undefined) bytes.fill(0, 4096, 8192);
      expect(into.equals(bytes)).toBe(true);
      await storage.truncate(MIB);
      expect(await storage.size(), "devices do not shrink").toBe(3 * MIB + 512);
      expect(await errorOf(storage.truncate(4 * MIB))).toMatchObject({ code: "io", errno: "ENOSPC" });
      expect(await errorOf(storage.write(3 * MIB, new Uint8Array(4096)))).toMatchObject({ errno: "ENOSPC" });
    });
    if (reason !== undefined) skip(reason);
  });
});

describe("FileStorage.open", () => {
  it("creates only when asked, and never truncates", async () => {
    expect(await errorOf(open("missing.img"))).toMatchObject({ code: "io", errno: "ENOENT" });
    await (await create("a.img")).close();
    await fs.writeFile(inDirectory("a.img"), "content");
    await (await create("a.img")).close();
    expect(await fs.readFile(inDirectory("a.img"), "latin1")).toBe("content");
    expect(await errorOf(open("a.img", { create: true, exclusive: true }))).toMatchObject({
      errno: "EEXIST",
    });
  });

  it("names the file and the reason in its message", async () => {
    const { message } = await errorOf(open("missing.img"));
    expect(message).toBe(`Could not open '${inDirectory("missing.img")}': No such file or directory`);
  });

  it("refuses directories, and pipes without waiting for their other end", async ({ skip }) => {
    await fs.mkdir(inDirectory("folder"));
    expect(await errorOf(open("folder", { readOnly: true }))).toMatchObject({ code: "io", errno: "EISDIR" });
    expect(await errorOf(create("folder"))).toMatchObject({ code: "io", errno: "EISDIR" });
    if ((await whyNot("mkfifo", ["--version"])) !== undefined) skip("this system has no mkfifo");
    await execa("mkfifo", [inDirectory("pipe")]);
    expect(await errorOf(open("pipe", { readOnly: true }))).toMatchObject({ code: "unsupported" });
  });

  it("refuses options that contradict each other", async () => {
    await expect(open("a.img", { readOnly: true, create: true })).rejects.toThrow(TypeError);
    await expect(open("a.img", { exclusive: true })).rejects.toThrow(TypeError);
    await expect(open("a.img", { forceShare: true })).rejects.toThrow(TypeError);
  });

  it.skipIf(process.platform === "win32")("reads and writes through symbolic links", async () => {
    await fs.writeFile(inDirectory("target.img"), "0123456789");
    await fs.symlink("target.img", inDirectory("link.img"));
    await using storage = await open("link.img");
    await storage.write(3, Buffer.from("abc"));
    expect(await fs.readFile(inDirectory("target.img"), "latin1")).toBe("012abc6789");
  });

  it("keeps to the file that it opened when that is renamed or removed", async () => {
    await using storage = await create("a.img");
    await storage.write(0, Buffer.from("first"));
    await fs.rename(inDirectory("a.img"), inDirectory("b.img"));
    await fs.writeFile(inDirectory("a.img"), "other");
    await storage.write(5, Buffer.from(" second"));
    expect(await fs.readFile(inDirectory("b.img"), "latin1")).toBe("first second");
    expect(await fs.readFile(inDirectory("a.img"), "latin1")).toBe("other");
  });
});

describe("a read-only FileStorage", () => {
  it("refuses every change and flushes nothing", async () => {
    await fs.writeFile(inDirectory("a.img"), "content");
    await using storage = await open("a.img", { readOnly: true });
    expect((await errorOf(storage.write(0, new Uint8Array(1)))).code).toBe("read-only");
    expect((await errorOf(storage.truncate(0))).code).toBe("read-only");
    expect(storage.punchHole).toBeUndefined();
    expect(storage.allocate).toBeUndefined();
    await storage.flush();
    expect(await fs.readFile(inDirectory("a.img"), "latin1")).toBe("content");
  });
});

describe("FileStorage.close", () => {
  it("waits for the requests under way, so that they reach their own file", async () => {
    const storage = await create("a.img");
    const content = incompressible(8 * MIB, 3);
    const writes = Array.from({ length: 8 }, (_, index) =>
      storage.write(index * MIB, content.subarray(index * MIB, (index + 1) * MIB)),
    );
    const closing = storage.close();
    await using other = await create("b.img");
    await Promise.all([...writes, closing]);
    expect(await other.size()).toBe(0);
    expect((await fs.readFile(inDirectory("a.img"))).equals(content)).toBe(true);
    expect((await errorOf(storage.read(0, new Uint8Array(1)))).code).toBe("closed");
    expect((await errorOf(storage.size())).code).toBe("closed");
    expect((await errorOf(storage.flush())).code).toBe("closed");
  });
});

describe.skipIf(!tellsHoles)("FileStorage on a sparse file", () => {
  it("tells data from holes as the file system does", async () => {
    await using storage = await create("a.img");
    await storage.truncate(10 * MIB);
    await storage.write(2 * MIB, incompressible(MIB, 1));
    await storage.write(7 * MIB, incompressible(MIB, 2));
    const extents = [];
    for (let offset = 0; offset < 10 * MIB; ) {
      const extent = await storage.extentAt!(offset);
      extents.push([extent.kind, extent.offset / MIB, extent.length / MIB]);
      offset += extent.length;
    }
    expect(extents).toEqual([
      ["hole", 0, 2],
      ["data", 2, 1],
      ["hole", 3, 4],
      ["data", 7, 1],
      ["hole", 8, 2],
    ]);
    expect(await storage.extentAt!(2 * MIB + 4096)).toEqual({
      kind: "data",
      offset: 2 * MIB + 4096,
      length: MIB - 4096,
    });
    expect(await storage.extentAt!(10 * MIB - 1)).toEqual({ kind: "hole", offset: 10 * MIB - 1, length: 1 });
    await expect(storage.extentAt!(10 * MIB)).rejects.toThrow(RangeError);
    await expect(storage.extentAt!(-1)).rejects.toThrow(RangeError);
  });

  it("gives space back by punching holes, and takes it by allocating", async () => {
    await using storage = await create("a.img");
    await storage.write(0, incompressible(8 * MIB, 1));
    await storage.flush();
    expect(await storage.allocatedBytes()).toBeGreaterThanOrEqual(8 * MIB);
    await storage.punchHole!(MIB, 6 * MIB);
    expect(await storage.allocatedBytes()).toBeLessThanOrEqual(2 * MIB + 65536);
    expect(await storage.extentAt!(MIB)).toEqual({ kind: "hole", offset: MIB, length: 6 * MIB });
    await storage.allocate!(0, 9 * MIB);
    expect(await storage.size()).toBe(9 * MIB);
    expect(await storage.allocatedBytes()).toBeGreaterThanOrEqual(9 * MIB);
  });

  it("handles offsets far beyond 32 bits", async () => {
    await using storage = await create("a.img");
    const far = 5 * 2 ** 40;
    try {
      await storage.truncate(far + MIB);
    } catch {
      return; // A file system with a lower limit.
    }
    await storage.write(far, incompressible(65536, 1));
    expect(await storage.extentAt!(0)).toEqual({ kind: "hole", offset: 0, length: far });
    expect(await storage.extentAt!(far)).toMatchObject({ kind: "data", offset: far });
    await storage.punchHole!(far, 65536);
    expect(await storage.extentAt!(0)).toEqual({ kind: "hole", offset: 0, length: far + MIB });
  });
});

describe("FileStorage on a full disk", () => {
  it("says ENOSPC, whether it writes, allocates or punches, and reads on", async ({ skip }) => {
    const reason = await withSmallFileSystem(inDirectory("small"), 2 * MIB, async () => {
      await using storage = await create("small/a.img");
      await storage.write(0, incompressible(MIB, 1));
      expect(await errorOf(storage.write(MIB, new Uint8Array(4 * MIB)))).toMatchObject({
        code: "io",
        errno: "ENOSPC",
        message: `Could not write to '${inDirectory("small/a.img")}' at offset ${MIB}: No space left on device`,
      });
      if (storage.allocate !== undefined) {
        expect(await errorOf(storage.allocate(0, 8 * MIB))).toMatchObject({ code: "io", errno: "ENOSPC" });
      }
      const into = Buffer.alloc(MIB);
      expect(await storage.read(0, into)).toBe(MIB);
      expect(into.equals(incompressible(MIB, 1))).toBe(true);
    });
    if (reason !== undefined) skip(reason);
  });
});
