/** Whose the name of a target is while it is written, and who has it in the end. */
import fs from "node:fs/promises";
import { isQcow2Error } from "@qcow2/core";
import { afterEach, describe, expect, it, vi } from "vitest";
import { FileStorage } from "../src/file/file-storage.ts";
import { fromHostPath } from "../src/file/host-path.ts";
import { loadLibc } from "../src/native/libc.ts";
import { TargetFile } from "../src/target/target-file.ts";
import { useTemporaryDirectory } from "./temporary-directory.ts";

const inDirectory = useTemporaryDirectory();
const read = (name: string) => fs.readFile(inDirectory(name), "latin1");
const list = async (name = "") => (await fs.readdir(inDirectory(name))).sort();
const isWindows = process.platform === "win32";
const hasLocks = (await loadLibc()) !== undefined;

async function begin(name: string, content: string): Promise<TargetFile> {
  const target = await TargetFile.create(inDirectory(name));
  await target.storage.write(0, Buffer.from(content));
  return target;
}

async function refusal(work: Promise<unknown>): Promise<string> {
  try {
    await work;
  } catch (error) {
    if (isQcow2Error(error, "io") && error.data.errno === "EBUSY") return error.message;
    throw error;
  }
  return expect.fail("it was not refused");
}

/** The file that an error says the result is in. */
async function resultIn(message: string): Promise<string> {
  const name = /the finished result is in '([^']+)'$/.exec(message)?.[1];
  return await fs.readFile(name ?? expect.fail(message), "latin1");
}

afterEach(() => {
  vi.unstubAllEnvs();
});

describe.skipIf(isWindows).each([
  ["with native calls", ""],
  ["without native calls", "1"],
])("the name of a target, %s", (_, noFfi) => {
  const setUp = () => vi.stubEnv("QCOW2_NO_FFI", noFfi);

  it("is taken from the start, by an empty file that goes with an abort", async () => {
    setUp();
    const target = await begin("a.img", "content");
    expect(await read("a.img")).toBe("");
    await target.abort();
    expect(await list()).toEqual([]);
  });

  it.each([["old"], [undefined]])(
    "stays another file's that took it meanwhile (before: %s)",
    async (before) => {
      setUp();
      if (before !== undefined) await fs.writeFile(inDirectory("a.img"), before);
      const target = await begin("a.img", "content");
      await fs.writeFile(inDirectory("other"), "somebody else's");
      await fs.rename(inDirectory("other"), inDirectory("a.img"));
      const message = await refusal(target.commit());
      expect(await read("a.img")).toBe("somebody else's");
      expect(await resultIn(message)).toBe("content");
      expect(await list()).toHaveLength(2);
    },
  );

  it.each([["old"], [undefined]])(
    "stays with a file that was written to meanwhile (before: %s)",
    async (before) => {
      setUp();
      if (before !== undefined) await fs.writeFile(inDirectory("a.img"), before);
      const target = await begin("a.img", "content");
      await fs.appendFile(inDirectory("a.img"), ", and more");
      const message = await refusal(target.commit());
      expect(await read("a.img")).toBe(`${before ?? ""}, and more`);
      expect(await resultIn(message)).toBe("content");
    },
  );

  it("is taken back from nobody: what was written into the empty file stays after an abort", async () => {
    setUp();
    const target = await begin("a.img", "content");
    await fs.appendFile(inDirectory("a.img"), "somebody else's");
    await target.abort();
    expect(await read("a.img")).toBe("somebody else's");
  });

  it.each([["old"], [undefined]])(
    "is given to the result if nothing has it any more (before: %s)",
    async (before) => {
      setUp();
      if (before !== undefined) await fs.writeFile(inDirectory("a.img"), before);
      const target = await begin("a.img", "content");
      await fs.rm(inDirectory("a.img"));
      await target.commit();
      expect(await read("a.img")).toBe("content");
      expect(await list()).toEqual(["a.img"]);
    },
  );

  it("is found again in a folder that was moved", async ({ skip }) => {
    setUp();
    if (process.platform !== "linux") skip("directories are held by their descriptors on Linux");
    await fs.mkdir(inDirectory("folder"));
    const target = await begin("folder/a.img", "content");
    await fs.rename(inDirectory("folder"), inDirectory("moved"));
    await fs.mkdir(inDirectory("folder"));
    await target.commit();
    expect(await list("moved")).toEqual(["a.img"]);
    expect(await read("moved/a.img")).toBe("content");
    expect(await list("folder")).toEqual([]);
  });

  it("is the one that the kernel finds behind links with '..'", async () => {
    setUp();
    await fs.mkdir(inDirectory("deep/er"), { recursive: true });
    await fs.writeFile(inDirectory("deep/a.img"), "old");
    await fs.symlink("../a.img", inDirectory("deep/er/link"));
    await fs.symlink("deep/er", inDirectory("short"));
    await (await begin("short/link", "content")).commit();
    expect(await read("deep/a.img")).toBe("content");
    expect(await list()).toEqual(["deep", "short"]);
  });

  it("is bytes, and no other name's that looks alike as text", async ({ skip }) => {
    setUp();
    if (process.platform !== "linux") skip("names are bytes on Linux");
    const text = [0xff, 0xfe].map((byte) => fromHostPath(Buffer.of(byte)));
    for (const name of text) await (await begin(name, name)).commit();
    const folder = Buffer.from(`${inDirectory()}/`);
    const entries = await fs.readdir(inDirectory(), { encoding: "buffer" });
    expect(entries.map((entry) => entry.toString("hex")).sort()).toEqual(["fe", "ff"]);
    await fs.symlink(Buffer.of(0xff), inDirectory("link"));
    await (await begin("link", "through the link")).commit();
    expect(await fs.readFile(Buffer.concat([folder, Buffer.of(0xff)]), "latin1")).toBe("through the link");
    expect(await fs.readdir(inDirectory())).toHaveLength(3);
  });

  it("of targets that belong together are given to all or to none", async () => {
    setUp();
    await fs.writeFile(inDirectory("first"), "old first");
    await fs.writeFile(inDirectory("second"), "old second");
    const failing = [await begin("first", "new first"), await begin("second", "new second")];
    await fs.writeFile(inDirectory("other"), "somebody else's");
    await fs.rename(inDirectory("other"), inDirectory("second"));
    const message = await refusal(TargetFile.commitAll(failing));
    expect(await read("first")).toBe("old first");
    expect(await read("second")).toBe("somebody else's");
    const kept = /result is in '([^']+)' and '([^']+)'$/.exec(message)?.slice(1) ?? [];
    expect(await Promise.all(kept.map((name) => fs.readFile(name, "latin1")))).toEqual([
      "new first",
      "new second",
    ]);
    expect(await list()).toHaveLength(4);
    await Promise.all(kept.map((name) => fs.rm(name)));

    await TargetFile.commitAll([await begin("first", "new first"), await begin("second", "new second")]);
    expect([await read("first"), await read("second")]).toEqual(["new first", "new second"]);
    expect(await list()).toEqual(["first", "second"]);
  });

  it("of targets that belong together stay as they are if one of them cannot be made durable", async () => {
    setUp();
    await fs.writeFile(inDirectory("first"), "old first");
    const targets = [await begin("first", "new first"), await begin("second", "new second")];
    const failure = new Error("the disk is gone");
    vi.spyOn(targets[1]!.storage, "close").mockRejectedValueOnce(failure);
    await expect(TargetFile.commitAll(targets)).rejects.toBe(failure);
    expect(await read("first")).toBe("old first");
    expect(await list()).toEqual(["first"]);
  });
});

describe("two that write to one name at once", () => {
  it.skipIf(!hasLocks)(
    "are one too many: the second is refused, whether the name was there or not",
    async () => {
      await fs.writeFile(inDirectory("a.img"), "old");
      for (const name of ["a.img", "b.img"]) {
        const first = await begin(name, "first");
        await expect(TargetFile.create(inDirectory(name))).rejects.toMatchObject({ code: "locked" });
        const reading = FileStorage.open(inDirectory(name), { readOnly: true });
        await expect(reading).rejects.toMatchObject({ code: "locked" });
        await first.commit();
        expect(await read(name)).toBe("first");
      }
      expect(await list()).toEqual(["a.img", "b.img"]);
    },
  );

  it.skipIf(!hasLocks)("of many that begin together, exactly one gets the name", async () => {
    for (let round = 0; round < 5; round++) {
      const path = inDirectory(`${round}.img`);
      const begun = await Promise.allSettled(Array.from({ length: 8 }, () => TargetFile.create(path)));
      const won = begun.flatMap((result) => (result.status === "fulfilled" ? [result.value] : []));
      expect(won).toHaveLength(1);
      await won[0]!.commit();
    }
    expect(await list()).toHaveLength(5);
  });

  it.skipIf(isWindows)(
    "without locks, the second finds in the end that the name is the first one's",
    async () => {
      vi.stubEnv("QCOW2_NO_FFI", "1");
      const [first, second] = [await begin("a.img", "first"), await begin("a.img", "second")];
      await first.commit();
      expect(await resultIn(await refusal(second.commit()))).toBe("second");
      expect(await read("a.img")).toBe("first");
    },
  );
});

it("a relative name is that of the directory in which the work began", async () => {
  const before = process.cwd();
  await fs.mkdir(inDirectory("elsewhere"));
  try {
    process.chdir(inDirectory());
    const target = await TargetFile.create("a.img");
    process.chdir(inDirectory("elsewhere"));
    await target.storage.write(0, Buffer.from("content"));
    await target.commit();
  } finally {
    process.chdir(before);
  }
  expect(await read("a.img")).toBe("content");
  expect(await list("elsewhere")).toEqual([]);
});
