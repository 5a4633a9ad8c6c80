import fs from "node:fs/promises";
import { type CreateOptions, type Disk, type ErrorCode, isQcow2Error, Qcow2Image } from "@qcow2/core";
import { execa } from "execa";
import { afterEach, describe, expect, it, vi } from "vitest";
import { FileStorage } from "../src/file/file-storage.ts";
import { type OpenDiskOptions, openDisk } from "../src/open/open-disk.ts";
import { fileReferences } from "../src/references/file-references.ts";
import { incompressible } from "./bytes.ts";
import { whyNot } from "./host-tools.ts";
import { useTemporaryDirectory } from "./temporary-directory.ts";

const inDirectory = useTemporaryDirectory();
const noQemuImg = await whyNot("qemu-img", ["--version"]);

const open = (name: string, options: Omit<OpenDiskOptions, "path"> = {}) =>
  openDisk({ path: inDirectory(name), readOnly: true, ...options });

async function readAll(disk: Disk): Promise<Buffer> {
  const bytes = Buffer.alloc(disk.size, 0xa5);
  await disk.read({ offset: 0, into: bytes });
  return bytes;
}

async function codeOf(work: Promise<Disk>): Promise<ErrorCode> {
  const error: unknown = await work.then(
    async (disk) => {
      await disk.close();
      return expect.fail("it did not fail");
    },
    (reason: unknown) => reason,
  );
  if (!isQcow2Error(error)) throw error;
  return error.code;
}

it("a snapshot is the image's own: backing files show what they are, whatever their snapshots are called", async () => {
  const create = async (name: string, backingFile?: CreateOptions["backingFile"]) => {
    const storage = await FileStorage.open(inDirectory(name), { create: true });
    return await Qcow2Image.create({ storage, size: 65_536, references: fileReferences(), backingFile });
  };
  const [before, after] = [incompressible(512, 1), incompressible(512, 2)];
  {
    await using base = await create("base.qcow2");
    await base.write({ offset: 0, from: before });
    await base.createSnapshot({ name: "first" });
    await base.write({ offset: 0, from: after });
  }
  {
    await using overlay = await create("overlay.qcow2", { name: "base.qcow2", format: "qcow2" });
    await overlay.createSnapshot({ name: "first" });
  }
  await fs.writeFile(inDirectory("base.raw"), after);
  {
    await using overlay = await create("over-raw.qcow2", { name: "base.raw", format: "raw" });
    await overlay.createSnapshot({ name: "first" });
  }
  for (const name of ["overlay.qcow2", "over-raw.qcow2"]) {
    await using disk = await open(name, { snapshot: "first" });
    expect((await readAll(disk)).subarray(0, 512).equals(after), name).toBe(true);
  }
});

describe("openDisk on raw files", () => {
  it("takes what has no signature for raw, and rounds its size up to sectors", async () => {
    const content = incompressible(5000, 1);
    await fs.writeFile(inDirectory("a.raw"), content);
    await using disk = await open("a.raw");
    expect({ format: disk.format, size: disk.size, readOnly: disk.readOnly }).toEqual({
      format: "raw",
      size: 5120,
      readOnly: true,
    });
    expect((await readAll(disk)).equals(Buffer.concat([content, Buffer.alloc(120)]))).toBe(true);
  });

  it("opens an empty file", async () => {
    await fs.writeFile(inDirectory("a.raw"), "");
    await using disk = await open("a.raw");
    expect(disk.size).toBe(0);
  });

  it("does what it is told about the format, and refuses formats that it does not read", async () => {
    await fs.writeFile(inDirectory("a.img"), "QFI\xfbnot really", "latin1");
    await using disk = await open("a.img", { format: "raw" });
    expect(disk.format).toBe("raw");
    await fs.writeFile(inDirectory("a.raw"), new Uint8Array(512));
    expect(await codeOf(open("a.raw", { format: "qcow2" }))).toBe("not-qcow2");
    expect(await codeOf(open("a.raw", { format: "vmdk" }))).toBe("unsupported-format");
    await fs.writeFile(inDirectory("a.vmdk"), "KDMV and so on");
    expect(await codeOf(open("a.vmdk"))).toBe("unsupported-format");
    expect(await codeOf(open("a.raw", { snapshot: "first" }))).toBe("snapshot-not-found");
  });

  it("refuses directories and missing files", async () => {
    expect(await codeOf(open("missing"))).toBe("io");
    expect(await codeOf(open("."))).toBe("io");
    await expect(openDisk({ path: inDirectory("a.raw"), forceShare: true })).rejects.toThrow(TypeError);
  });

  it("leaves nothing open or locked when it fails", async () => {
    await fs.writeFile(inDirectory("a.img"), "QFI\xfb", "latin1");
    expect(await codeOf(open("a.img"))).toBe("truncated");
    await using _writer = await FileStorage.open(inDirectory("a.img"));
  });
});

describe.skipIf(noQemuImg !== undefined)(
  `openDisk on images of qemu-img${noQemuImg === undefined ? "" : ` (${noQemuImg})`}`,
  () => {
    afterEach(() => void vi.restoreAllMocks());

    const qemuImg = (...args: readonly string[]) => execa("qemu-img", args, { cwd: inDirectory() });
    /** base.raw <- middle.qcow2 <- top.qcow2, each with its own piece of data. */
    async function makeChain(): Promise<Buffer> {
      const content = incompressible(1 << 20, 1);
      await fs.writeFile(inDirectory("base.raw"), content);
      await qemuImg("create", "-q", "-f", "qcow2", "-F", "raw", "-b", "base.raw", "middle.qcow2");
      await qemuImg("create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", "middle.qcow2", "top.qcow2");
      await execa("qemu-io", ["-c", "write -P 7 65536 65536", inDirectory("middle.qcow2")]);
      await execa("qemu-io", ["-c", "write -P 9 131072 65536", inDirectory("top.qcow2")]);
      content.fill(7, 65536, 131072).fill(9, 131072, 196608);
      return content;
    }

    it.each(["", "1"])(
      "reads a chain, relative to the image and not to the working directory (no FFI: '%s')",
      async (noFfi) => {
        vi.stubEnv("QCOW2_NO_FFI", noFfi);
        const content = await makeChain();
        await using disk = await open("top.qcow2");
        expect(disk).toBeInstanceOf(Qcow2Image);
        expect((await readAll(disk)).equals(content)).toBe(true);
        vi.unstubAllEnvs();
      },
    );

    it("resolves names beside the link by which an image was opened, as QEMU does", async () => {
      const content = await makeChain();
      await fs.mkdir(inDirectory("links"));
      await fs.symlink("../top.qcow2", inDirectory("links/top.qcow2"));
      expect(await codeOf(open("links/top.qcow2"))).toBe("io");
      await fs.rename(inDirectory("middle.qcow2"), inDirectory("links/middle.qcow2"));
      await fs.rename(inDirectory("base.raw"), inDirectory("links/base.raw"));
      await using disk = await open("links/top.qcow2");
      expect((await readAll(disk)).equals(content)).toBe(true);
    });

    it("opens the files below the image read-only, and unlocks all of them on close", async () => {
      await makeChain();
      const disk = await openDisk({ path: inDirectory("top.qcow2") });
      const { backing } = disk as Qcow2Image;
      expect([disk.readOnly, backing?.readOnly, (backing as Qcow2Image).backing?.readOnly]).toEqual([
        false,
        true,
        true,
      ]);
      await disk.close();
      for (const name of ["top.qcow2", "middle.qcow2", "base.raw"]) {
        await (await FileStorage.open(inDirectory(name))).close();
      }
    });

    it("finds loops of any length, and says so", async () => {
      await makeChain();
      await qemuImg("rebase", "-u", "-F", "qcow2", "-b", "top.qcow2", "middle.qcow2");
      expect(await codeOf(open("top.qcow2"))).toBe("reference-loop");
      await qemuImg("rebase", "-u", "-F", "qcow2", "-b", "./middle.qcow2", "middle.qcow2");
      expect(await codeOf(open("middle.qcow2"))).toBe("reference-loop");
      expect(await codeOf(open("top.qcow2"))).toBe("reference-loop");
    });

    it.skipIf(process.platform === "win32")("finds loops through links with other names", async () => {
      await makeChain();
      await fs.link(inDirectory("top.qcow2"), inDirectory("hard.qcow2"));
      await fs.symlink("hard.qcow2", inDirectory("soft.qcow2"));
      await qemuImg("rebase", "-u", "-F", "qcow2", "-b", "soft.qcow2", "middle.qcow2");
      expect(await codeOf(open("top.qcow2"))).toBe("reference-loop");
    });

    it("does not take the same base in two disks for a loop", async () => {
      const content = await makeChain();
      await using first = await open("top.qcow2");
      await using second = await open("top.qcow2");
      expect((await readAll(first)).equals(await readAll(second))).toBe(true);
      expect((await readAll(second)).equals(content)).toBe(true);
    });

    it("guesses the format of a backing file only when allowed", async () => {
      await makeChain();
      await qemuImg("rebase", "-u", "-F", "raw", "-b", "base.raw", "middle.qcow2");
      await withoutBackingFormat(inDirectory("middle.qcow2"));
      expect(await codeOf(open("middle.qcow2"))).toBe("backing-format-missing");
      await using disk = await open("middle.qcow2", { probeBacking: true });
      expect(disk.size).toBe(1 << 20);
    });

    it("opens no backing file for metadata", async () => {
      await makeChain();
      await fs.rm(inDirectory("base.raw"));
      expect(await codeOf(open("middle.qcow2"))).toBe("io");
      await using disk = await open("middle.qcow2", { metadataOnly: true });
      expect((disk as Qcow2Image).info().backingFile).toBe("base.raw");
    });

    describe("followReferences", () => {
      it("none: opens nothing but the image", async () => {
        await makeChain();
        expect(await codeOf(open("middle.qcow2", { followReferences: "none" }))).toBe("reference-denied");
      });

      it("same-directory: opens what lies beside the image, links resolved", async () => {
        const content = await makeChain();
        await using disk = await open("top.qcow2", { followReferences: "same-directory" });
        expect((await readAll(disk)).equals(content)).toBe(true);
      });

      it("same-directory: refuses other directories, whether the file exists or not", async () => {
        await makeChain();
        await fs.mkdir(inDirectory("sub"));
        await fs.rename(inDirectory("base.raw"), inDirectory("sub/base.raw"));
        for (const backing of [
          "sub/base.raw",
          inDirectory("sub/base.raw"),
          "../nothing.raw",
          "sub/../sub/base.raw",
        ]) {
          await qemuImg("rebase", "-u", "-F", "raw", "-b", backing, "middle.qcow2");
          expect(await codeOf(open("middle.qcow2", { followReferences: "same-directory" })), backing).toBe(
            "reference-denied",
          );
        }
      });

      it.skipIf(process.platform === "win32")(
        "same-directory: refuses a link that leads elsewhere",
        async () => {
          await makeChain();
          await fs.mkdir(inDirectory("sub"));
          await fs.rename(inDirectory("base.raw"), inDirectory("sub/secret.raw"));
          await fs.symlink("sub/secret.raw", inDirectory("base.raw"));
          expect(await codeOf(open("top.qcow2", { followReferences: "same-directory" }))).toBe(
            "reference-denied",
          );
          await (await open("top.qcow2")).close();
        },
      );

      it("interprets no protocol, whatever is allowed", async () => {
        await makeChain();
        for (const backing of ["nbd://127.0.0.1:1/x", 'json:{"driver":"file","filename":"base.raw"}']) {
          await qemuImg("rebase", "-u", "-F", "raw", "-b", backing, "middle.qcow2");
          expect(await codeOf(open("middle.qcow2")), backing).toBe("reference-denied");
        }
      });
    });

    describe("external data files", () => {
      it("are opened where QEMU looks for them", async () => {
        await qemuImg(
          "create",
          "-q",
          "-f",
          "qcow2",
          "-o",
          `data_file=${inDirectory("data.raw")}`,
          "a.qcow2",
          "1M",
        );
        await execa("qemu-io", ["-c", "write -P 5 0 1M", inDirectory("a.qcow2")]);
        await using disk = await open("a.qcow2");
        expect((await readAll(disk)).every((byte) => byte === 5)).toBe(true);
        await disk.close();
        await using beside = await open("a.qcow2", { followReferences: "same-directory" });
        await beside.close();
        expect(await codeOf(open("a.qcow2", { followReferences: "none" }))).toBe("reference-denied");
      });
    });

    it("serves Qcow2Image.open without openDisk", async () => {
      const content = await makeChain();
      const storage = await FileStorage.open(inDirectory("top.qcow2"), { readOnly: true });
      await using image = await Qcow2Image.open({ storage, references: fileReferences() });
      expect((await readAll(image)).equals(content)).toBe(true);
    });

    it.each([[], ["-o", "compression_type=zstd"]])("reads compressed clusters %s", async (...options) => {
      const content = await makeChain();
      await qemuImg("convert", "-c", "-O", "qcow2", ...options, "top.qcow2", "packed.qcow2");
      await using disk = await open("packed.qcow2");
      expect((await readAll(disk)).equals(content)).toBe(true);
    });
  },
);

/** Turns the backing format extension of an image into one that every reader passes over. */
async function withoutBackingFormat(path: string): Promise<void> {
  const bytes = await fs.readFile(path);
  const at = bytes.indexOf(Buffer.from([0xe2, 0x79, 0x2a, 0xca]));
  expect(at).toBeGreaterThan(0);
  bytes.writeUInt32BE(0x7e577e57, at);
  await fs.writeFile(path, bytes);
}

it("an image of Apple's is refused by its trailer and by its name, unless it is said to be raw", async () => {
  const trailer = Buffer.from("koly\0\0\0\x04\0\0\x02\0".padEnd(512, "\0"), "latin1");
  await fs.writeFile(inDirectory("named.dmg"), Buffer.alloc(4096));
  await fs.writeFile(inDirectory("other"), Buffer.concat([Buffer.alloc(4096), trailer]));
  for (const name of ["named.dmg", "other"]) {
    expect(await codeOf(open(name)), name).toBe("unsupported-format");
    await using disk = await open(name, { format: "raw" });
    expect(disk.format).toBe("raw");
  }
});
