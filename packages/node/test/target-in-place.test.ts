/** Targets that no other file can, or should, take the place of. */
import fs from "node:fs/promises";
import { execa } from "execa";
import { describe, expect, it } from "vitest";
import { FileStorage } from "../src/file/file-storage.ts";
import { TargetFile } from "../src/target/target-file.ts";
import { withBindMount } from "./host-tools.ts";
import { useTemporaryDirectory } from "./temporary-directory.ts";

const inDirectory = useTemporaryDirectory();
const list = async (name = "") => (await fs.readdir(inDirectory(name))).sort();
const isLinux = process.platform === "linux";
const isRoot = process.getuid?.() === 0;
const NOBODY = 65534;

async function overwrite(path: string, content: string): Promise<string | undefined> {
  const target = await TargetFile.create(path);
  const { inPlaceReason } = target;
  if (target.inPlace) await target.storage.truncate(0);
  await target.storage.write(0, Buffer.from(content));
  await target.commit();
  return inPlaceReason;
}

describe.skipIf(process.platform === "win32")("a target is written in place", () => {
  it("if it has other names, which stay its names", async () => {
    await fs.writeFile(inDirectory("a.img"), "old content");
    await fs.link(inDirectory("a.img"), inDirectory("b.img"));
    expect(await overwrite(inDirectory("a.img"), "new")).toBe("hard-links");
    expect(await fs.readFile(inDirectory("b.img"), "latin1")).toBe("new");
    expect((await fs.stat(inDirectory("a.img"))).nlink).toBe(2);
    expect(await list()).toEqual(["a.img", "b.img"]);
  });

  it.runIf(isLinux)(
    "if it is named by a descriptor: a file with a name, one without, one behind a link",
    async () => {
      await fs.writeFile(inDirectory("a.img"), "old content");
      await using handle = await fs.open(inDirectory("a.img"), "r+");
      const first = `/proc/self/fd/${handle.fd}`;
      expect(await overwrite(first, "one")).toBe("descriptor");
      expect(await fs.readFile(inDirectory("a.img"), "latin1")).toBe("one");
      await fs.rm(inDirectory("a.img"));
      await fs.symlink(`/dev/fd/${handle.fd}`, inDirectory("link"));
      for (const path of [first, `/dev/fd/${handle.fd}`, inDirectory("link")]) {
        expect(await overwrite(path, path)).toBe("descriptor");
        const into = Buffer.alloc(path.length);
        await handle.read(into, 0, into.length, 0);
        expect(into.toString()).toBe(path);
      }
      expect(await list(), "and nothing else came of it").toEqual(["link"]);
    },
  );

  it("if it is mounted by itself, as files are into containers", async ({ skip }) => {
    await fs.writeFile(inDirectory("outside"), "old content");
    await fs.writeFile(inDirectory("a.img"), "");
    const mount = { from: inDirectory("outside"), to: inDirectory("a.img") };
    const reason = await withBindMount(mount, async () => {
      expect(await overwrite(inDirectory("a.img"), "new")).toBe("mount");
      expect(await list()).toEqual(["a.img", "outside"]);
    });
    if (reason !== undefined) skip(reason);
    expect(await fs.readFile(inDirectory("outside"), "latin1")).toBe("new");
  });

  it.runIf(isRoot && isLinux).each([
    ["that is not to be written", 0o755],
    ["that keeps everybody's files for them", 0o1777],
  ])("if it lies in a folder %s", async (_, mode) => {
    await fs.mkdir(inDirectory("folder"));
    await fs.writeFile(inDirectory("folder/a.img"), "old content");
    await fs.chmod(inDirectory("folder/a.img"), 0o666);
    await fs.chmod(inDirectory("folder"), mode);
    await fs.chmod(inDirectory(), 0o755);
    const code = `
      import { TargetFile } from "@qcow2/node";
      const target = await TargetFile.create(process.argv[1]);
      await target.storage.truncate(0);
      await target.storage.write(0, Buffer.from("new"));
      await target.commit();
      console.log(target.inPlaceReason);
    `;
    const args = ["--input-type=module", "-e", code, inDirectory("folder/a.img")];
    const options = { cwd: import.meta.dirname, uid: NOBODY, gid: NOBODY };
    const { stdout } = await execa(process.execPath, args, options);
    expect(stdout).toBe("folder");
    expect(await fs.readFile(inDirectory("folder/a.img"), "latin1")).toBe("new");
    expect(await list("folder")).toEqual(["a.img"]);
    expect((await fs.stat(inDirectory("folder/a.img"))).uid).toBe(0);
  });

  it("and left empty by an abort, but only if it was written to", async () => {
    await fs.writeFile(inDirectory("a.img"), "old content");
    await fs.link(inDirectory("a.img"), inDirectory("b.img"));
    await (await TargetFile.create(inDirectory("a.img"))).abort();
    expect(await fs.readFile(inDirectory("b.img"), "latin1")).toBe("old content");
    const target = await TargetFile.create(inDirectory("a.img"));
    await target.storage.write(0, Buffer.from("half of the new content"));
    await target.abort();
    expect(await fs.readFile(inDirectory("b.img"), "latin1")).toBe("");
  });

  it("and may be committed after whoever wrote it has closed the storage", async () => {
    await fs.writeFile(inDirectory("a.img"), "old");
    await fs.link(inDirectory("a.img"), inDirectory("b.img"));
    const target = await TargetFile.create(inDirectory("a.img"));
    await target.storage.write(0, Buffer.from("new"));
    await target.storage.close();
    await target.commit();
    expect(await fs.readFile(inDirectory("a.img"), "latin1")).toBe("new");
    await (await FileStorage.open(inDirectory("a.img"))).close();
  });
});
