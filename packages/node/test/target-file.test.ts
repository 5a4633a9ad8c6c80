import fs from "node:fs/promises";
import path from "node:path";
import { isQcow2Error } from "@qcow2/core";
import { execa } from "execa";
import { describe, expect, it } from "vitest";
import { FileStorage } from "../src/file/file-storage.ts";
import { loadLibc } from "../src/native/libc.ts";
import { TargetFile } from "../src/target/target-file.ts";
import { incompressible } from "./bytes.ts";
import { withLoopDevice, withSmallFileSystem } from "./host-tools.ts";
import { useTemporaryDirectory } from "./temporary-directory.ts";

const inDirectory = useTemporaryDirectory();
const list = async (name = "") => (await fs.readdir(inDirectory(name))).sort();
const read = (name: string) => fs.readFile(inDirectory(name), "latin1");
const isWindows = process.platform === "win32";
const isRoot = process.getuid?.() === 0;
const hasLocks = (await loadLibc()) !== undefined;

const errnoOf = (work: Promise<unknown>): Promise<string | undefined> =>
  work.then(
    () => expect.fail("it did not fail"),
    (error: unknown) => {
      if (isQcow2Error(error, "io")) return error.data.errno;
      throw error;
    },
  );

describe("TargetFile", () => {
  it("appears under its name when it is committed, and not before", async () => {
    const target = await TargetFile.create(inDirectory("new.img"));
    expect(target.storage.name).toBe(inDirectory("new.img"));
    await target.storage.write(0, Buffer.from("content"));
    expect(await list()).toEqual([expect.stringMatching(/^\.qcow2-[0-9a-f]{16}\.part$/), "new.img"]);
    expect(await read("new.img"), "the name is taken, and empty").toBe("");
    await target.commit();
    expect(await list()).toEqual(["new.img"]);
    expect(await read("new.img")).toBe("content");
    expect(target.storage.closed).toBe(true);
    await expect(target.commit()).rejects.toMatchObject({ code: "closed" });
    await target.abort();
    expect(await read("new.img")).toBe("content");
  });

  it("leaves nothing behind when it is aborted or disposed of", async () => {
    const target = await TargetFile.create(inDirectory("new.img"));
    await target.abort();
    await target.abort();
    {
      await using disposed = await TargetFile.create(inDirectory("new.img"));
      await disposed.storage.write(0, Buffer.from("content"));
    }
    expect(await list()).toEqual([]);
  });

  it("replaces a file in one step, and leaves it as it was when it is aborted", async () => {
    await fs.writeFile(inDirectory("a.img"), "old content");
    const aborted = await TargetFile.create(inDirectory("a.img"));
    await aborted.storage.write(0, Buffer.from("new"));
    expect(await read("a.img")).toBe("old content");
    await aborted.abort();
    expect(await read("a.img")).toBe("old content");
    const target = await TargetFile.create(inDirectory("a.img"));
    await target.storage.write(0, Buffer.from("new"));
    await target.commit();
    expect(await read("a.img")).toBe("new");
    expect(await list()).toEqual(["a.img"]);
  });

  it("may be committed after whoever wrote it has closed the storage", async () => {
    const target = await TargetFile.create(inDirectory("a.img"));
    await target.storage.write(0, Buffer.from("content"));
    await target.storage.close();
    await target.commit();
    expect(await read("a.img")).toBe("content");
  });

  it.skipIf(isWindows)("keeps the permissions of the file that it replaces", async () => {
    await fs.writeFile(inDirectory("a.img"), "old", { mode: 0o600 });
    await fs.chmod(inDirectory("a.img"), 0o640);
    const target = await TargetFile.create(inDirectory("a.img"));
    const [temporary] = (await list()).filter((name) => name.endsWith(".part"));
    expect((await fs.stat(inDirectory(temporary!))).mode & 0o777, "nobody else reads it meanwhile").toBe(
      0o600,
    );
    await target.commit();
    expect((await fs.stat(inDirectory("a.img"))).mode & 0o777).toBe(0o640);
  });

  it.skipIf(isWindows)("gives a new file the permissions of a new file", async () => {
    const target = await TargetFile.create(inDirectory("a.img"));
    await target.commit();
    expect((await fs.stat(inDirectory("a.img"))).mode & 0o777).toBe(0o644 & ~process.umask());
  });

  it.skipIf(!isRoot)("keeps the owner of the file that it replaces", async () => {
    await fs.writeFile(inDirectory("a.img"), "old");
    await fs.chown(inDirectory("a.img"), 12345, 54321);
    await (await TargetFile.create(inDirectory("a.img"))).commit();
    expect(await fs.stat(inDirectory("a.img"))).toMatchObject({ uid: 12345, gid: 54321 });
  });

  it.skipIf(isWindows)("goes through symbolic links and leaves them", async () => {
    await fs.mkdir(inDirectory("real"));
    await fs.writeFile(inDirectory("real/a.img"), "old");
    await fs.symlink("real/a.img", inDirectory("link1"));
    await fs.symlink(inDirectory("link1"), inDirectory("link2"));
    const target = await TargetFile.create(inDirectory("link2"));
    await target.storage.write(0, Buffer.from("new"));
    expect((await list("real")).length, "the temporary file lies beside the real one").toBe(2);
    await target.commit();
    expect(await read("real/a.img")).toBe("new");
    expect(await fs.readlink(inDirectory("link2"))).toBe(inDirectory("link1"));
    expect(await list("real")).toEqual(["a.img"]);
  });

  it.skipIf(isWindows)("creates what a dangling link names, and refuses links in a circle", async () => {
    await fs.symlink("missing.img", inDirectory("dangling"));
    await (await TargetFile.create(inDirectory("dangling"))).commit();
    expect(await list()).toEqual(["dangling", "missing.img"]);
    await fs.symlink("b", inDirectory("a"));
    await fs.symlink("a", inDirectory("b"));
    expect(await errnoOf(TargetFile.create(inDirectory("a")))).toBe("ELOOP");
  });

  it("refuses directories, names that end like one, and missing directories", async () => {
    await fs.mkdir(inDirectory("folder"));
    expect(await errnoOf(TargetFile.create(inDirectory("folder")))).toBe("EISDIR");
    expect(await errnoOf(TargetFile.create(`${inDirectory("folder")}/`))).toBe("EISDIR");
    expect(await errnoOf(TargetFile.create(`${inDirectory("new")}/`))).toBe("EISDIR");
    const inMissing = TargetFile.create(inDirectory(path.join("missing", "a.img")));
    await expect(inMissing).rejects.toThrow(inDirectory(path.join("missing", "a.img")));
    expect(await list()).toEqual(["folder"]);
    expect(await list("folder")).toEqual([]);
  });

  it.skipIf(isRoot || isWindows)("refuses to replace a file that may not be written", async () => {
    await fs.writeFile(inDirectory("a.img"), "old", { mode: 0o444 });
    expect(await errnoOf(TargetFile.create(inDirectory("a.img")))).toBe("EACCES");
  });

  it.skipIf(!hasLocks)(
    "refuses to replace an image that is in use, and keeps others from it meanwhile",
    async () => {
      await fs.writeFile(inDirectory("a.img"), "old");
      {
        await using _reader = await FileStorage.open(inDirectory("a.img"), { readOnly: true });
        await expect(TargetFile.create(inDirectory("a.img"))).rejects.toMatchObject({ code: "locked" });
      }
      await using _target = await TargetFile.create(inDirectory("a.img"));
      const opening = FileStorage.open(inDirectory("a.img"), { readOnly: true });
      await expect(opening).rejects.toMatchObject({ code: "locked" });
      expect(await list()).toHaveLength(2);
    },
  );

  it("leaves the old file alone when there is no space for the new one", async ({ skip }) => {
    const reason = await withSmallFileSystem(inDirectory("small"), 2 ** 20, async () => {
      await fs.writeFile(inDirectory("small/a.img"), "old");
      await using target = await TargetFile.create(inDirectory("small/a.img"));
      expect(await errnoOf(target.storage.write(0, incompressible(2 ** 21, 1)))).toBe("ENOSPC");
      await target.abort();
      expect(await read("small/a.img")).toBe("old");
      expect(await list("small")).toEqual(["a.img"]);
    });
    if (reason !== undefined) skip(reason);
  });

  it("writes a block device in place", async ({ skip }) => {
    await fs.writeFile(inDirectory("device.img"), new Uint8Array(2 ** 20));
    const reason = await withLoopDevice(inDirectory("device.img"), async (device) => {
      const target = await TargetFile.create(device);
      expect(target.inPlace).toBe(true);
      await target.storage.write(4096, Buffer.from("content"));
      await target.commit();
      expect((await fs.stat(device)).isBlockDevice()).toBe(true);
    });
    if (reason !== undefined) skip(reason);
    expect((await fs.readFile(inDirectory("device.img"))).toString("latin1", 4096, 4103)).toBe("content");
  });

  it("is gone when the process ends without a commit", async () => {
    const code = `
      import { TargetFile } from "@qcow2/node";
      const target = await TargetFile.create(process.argv[1]);
      await target.storage.write(0, new Uint8Array(100));
      process.exit(7);
    `;
    const args = ["--input-type=module", "-e", code, inDirectory("a.img")];
    const { exitCode } = await execa(process.execPath, args, { cwd: import.meta.dirname, reject: false });
    expect(exitCode).toBe(7);
    expect(await list()).toEqual([]);
  });
});
