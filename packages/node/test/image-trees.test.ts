import fs from "node:fs/promises";
import { Qcow2Image } from "@qcow2/core";
import { execa } from "execa";
import { beforeEach, describe, expect, it } from "vitest";
import { FileStorage } from "../src/file/file-storage.ts";
import { loadLibc } from "../src/native/libc.ts";
import { fileReferences } from "../src/references/file-references.ts";
import type { ImageNode } from "../src/trees/image-tree.ts";
import { type ImageTreesOptions, imageTrees } from "../src/trees/image-trees.ts";
import { useTemporaryDirectory } from "./temporary-directory.ts";

const inDirectory = useTemporaryDirectory();
const hasNativeCalls = (await loadLibc()) !== undefined;

const MIB = 2 ** 20;

interface NewImage {
  readonly size?: number;
  readonly backing?: string;
  readonly backingFormat?: string;
  /** The sector that is written. */
  readonly sector?: number;
}

async function image(name: string, options: NewImage = {}): Promise<void> {
  const { size = MIB, backing, backingFormat = "qcow2", sector = 0 } = options;
  const storage = await FileStorage.open(inDirectory(name), { create: true });
  await using disk = await Qcow2Image.create({
    storage,
    size,
    backingFile: backing === undefined ? undefined : { name: backing, format: backingFormat },
    references: fileReferences(),
  });
  await disk.write({ offset: sector * 512, from: new Uint8Array(512).fill(1) });
}

async function patch(name: string, offset: number, ...bytes: number[]): Promise<void> {
  const file = await fs.open(inDirectory(name), "r+");
  await file.write(Uint8Array.from(bytes), 0, bytes.length, offset);
  await file.close();
}

/** Gives an image another backing file than it was made with, which need not be there. */
async function setBacking(name: string, backing: string, format: string | null = "qcow2"): Promise<void> {
  const storage = await FileStorage.open(inDirectory(name));
  await using disk = await Qcow2Image.open({ storage, metadataOnly: true, readOnly: false });
  await disk.setBackingFile({ name: backing, format: format ?? undefined });
}

function slashes(path: string): string {
  return path.replaceAll("\\", "/");
}

/** As "name(overlay overlay)", and what is wrong after a colon. */
async function drawn(options: Partial<ImageTreesOptions> = {}): Promise<string[]> {
  const { trees } = await imageTrees({ paths: [inDirectory()], ...options });
  const draw = ({ path, overlays, problems }: ImageNode): string => {
    const name = slashes(path).replace(`${slashes(inDirectory())}/`, "");
    const what = problems.length === 0 ? "" : `:${problems.map(({ code }) => code).join("+")}`;
    return name + what + (overlays.length === 0 ? "" : `(${overlays.map(draw).join(" ")})`);
  };
  return trees.map(draw);
}

async function only(name: string, options: Partial<ImageTreesOptions> = {}): Promise<ImageNode> {
  const { trees } = await imageTrees({ paths: [inDirectory(name)], ...options });
  expect(trees).toHaveLength(1);
  return trees[0]!;
}

describe("the trees of a folder", () => {
  it("have bases below their overlays, whatever these call them, each file once", async () => {
    await image("base.qcow2", { size: 2 * MIB });
    await fs.symlink("base.qcow2", inDirectory("link.qcow2"));
    await image("web-10.qcow2", { backing: "link.qcow2" });
    await image("web-9.qcow2", { backing: inDirectory("base.qcow2") });
    await image("web-9-test.qcow2", { backing: "./web-9.qcow2" });
    await image("alone.qcow2");
    expect(await drawn()).toEqual([
      "alone.qcow2",
      "base.qcow2(web-9.qcow2:smaller-than-backing(web-9-test.qcow2) web-10.qcow2:smaller-than-backing)",
    ]);
    const { trees } = await imageTrees({ paths: [inDirectory()] });
    expect(trees[1]?.otherPaths).toEqual([inDirectory("link.qcow2")]);
  });

  it("leave out what is no image, unless it is a backing file, is called one, or is asked for", async () => {
    await image("disk");
    await fs.writeFile(inDirectory("golden"), "raw".padEnd(700));
    await image("overlay", { backing: "golden", backingFormat: "raw" });
    for (const name of ["notes.txt", "a.img", "b.raw", ".hidden.img", "empty", "c.qcow2"]) {
      await fs.writeFile(inDirectory(name), name === "empty" ? "" : "text".padEnd(600));
    }
    await fs.mkdir(inDirectory("folder.img"));
    await fs.symlink("folder.img", inDirectory("to-a-folder.img"));
    await fs.writeFile(inDirectory("theirs.vmdk"), "KDMV".padEnd(600));
    expect(await drawn()).toEqual(["a.img", "b.raw", "c.qcow2:invalid", "disk", "golden(overlay)"]);
    expect(await drawn({ all: true })).toEqual([
      ".hidden.img",
      "a.img",
      "b.raw",
      "c.qcow2:invalid",
      "disk",
      "empty",
      "golden(overlay)",
      "notes.txt",
      "theirs.vmdk:unsupported",
    ]);
    expect(await drawn({ paths: [inDirectory("notes.txt")] })).toEqual(["notes.txt"]);
    expect(await only("golden")).toMatchObject({ format: "raw", virtualSize: 1024, health: "good" });
  });

  it("reach into other folders only along backing files, or if asked to", async () => {
    await fs.mkdir(inDirectory("deeper/still"), { recursive: true });
    await fs.symlink("..", inDirectory("deeper/up"));
    await image("base");
    await image("deeper/middle", { backing: "../base" });
    await image("deeper/still/top", { backing: "../middle" });
    await image("deeper/other");
    expect(await drawn()).toEqual(["base"]);
    expect(await drawn({ recursive: true })).toEqual([
      "base(deeper/middle(deeper/still/top))",
      "deeper/other",
    ]);
    expect(await drawn({ paths: [inDirectory("deeper/still")] })).toEqual([
      "deeper/still/../../base(deeper/still/../middle(deeper/still/top))",
    ]);
  });

  it("follow what images name only as far as they may", async () => {
    await fs.mkdir(inDirectory("images"));
    await image("base");
    await image("images/beside");
    await image("images/top", { backing: "beside" });
    await image("images/far", { backing: "../base" });
    const paths = [inDirectory("images")];
    expect(await drawn({ paths })).toEqual(["images/../base(images/far)", "images/beside(images/top)"]);
    for (const followReferences of ["same-directory", "none"] as const) {
      expect(await drawn({ paths, followReferences })).toEqual([
        "images/../base:not-followed(images/far:backing-unknown)",
        "images/beside(images/top)",
      ]);
    }
    const one = await drawn({ paths: [inDirectory("images/top")], followReferences: "none" });
    expect(one).toEqual(["images/beside:not-followed(images/top:backing-unknown)"]);
  });

  it("name what images refer to and what is no local file", async () => {
    await image("one");
    await image("two");
    for (const name of ["one", "two"]) await setBacking(name, "nbd://host/disk", "raw");
    expect(await drawn()).toEqual(["nbd://host/disk:not-followed(one:backing-unknown two:backing-unknown)"]);
  });

  it("are sorted as asked for, with everything that lies in them", async () => {
    await image("a", { size: 4 * MIB });
    await image("b", { size: MIB });
    await image("b1", { size: MIB, backing: "b" });
    await image("b2", { size: 8 * MIB, backing: "b" });
    await fs.utimes(inDirectory("a"), 2000, 2000);
    for (const [name, time] of [
      ["b", 1000],
      ["b1", 1500],
      ["b2", 1200],
    ] as const) {
      await fs.utimes(inDirectory(name), time, time);
    }
    expect(await drawn()).toEqual(["a", "b(b1 b2)"]);
    expect(await drawn({ reverse: true })).toEqual(["b(b2 b1)", "a"]);
    expect(await drawn({ order: "virtual-size" })).toEqual(["b(b2 b1)", "a"]);
    expect(await drawn({ order: "actual-size" })).toEqual(["b(b1 b2)", "a"]);
    expect(await drawn({ order: "modified" })).toEqual(["a", "b(b1 b2)"]);
  });

  it("report folders and files that are not there, and go on", async () => {
    await image("a");
    const { trees, unreadable } = await imageTrees({ paths: [inDirectory("none"), inDirectory("a")] });
    expect(trees.map(({ path }) => path)).toEqual([inDirectory("a")]);
    expect(unreadable).toMatchObject([
      { path: inDirectory("none"), error: { code: "io", data: { errno: "ENOENT" } } },
    ]);
  });
});

describe("what is wrong", () => {
  beforeEach(async () => {
    await image("base");
    await image("middle", { backing: "base" });
    await image("top", { backing: "middle" });
  });

  it("with a base is wrong with what lies on it", async () => {
    await patch("base", 79, 2);
    expect(await drawn()).toEqual(["base:corrupt(middle:backing-broken(top:backing-broken))"]);
    await fs.rm(inDirectory("base"));
    expect(await drawn()).toEqual(["base:missing(middle:backing-missing(top:backing-broken))"]);
    expect((await only("base", { paths: [inDirectory("middle")] })).health).toBe("broken");
  });

  it("a chain that loops, which is cut at its first image", async () => {
    await setBacking("base", "middle");
    expect(await drawn()).toEqual(["base:backing-loop(middle:backing-loop(top:backing-broken))"]);
    await setBacking("base", "base");
    expect(await drawn()).toEqual(["base:backing-loop(middle:backing-broken(top:backing-broken))"]);
  });

  it("formats that are not recorded, or recorded wrongly", async () => {
    await fs.writeFile(inDirectory("x.img"), "raw".padEnd(2 * MIB));
    await setBacking("top", "middle", null);
    expect(await drawn()).toContain("base(middle(top:backing-format-missing))");
    await setBacking("top", "x.img", "qcow2");
    expect(await drawn()).toContain("x.img(top:backing-format-wrong+smaller-than-backing)");
    await setBacking("top", "middle", "raw");
    const { trees } = await imageTrees({ paths: [inDirectory()] });
    expect(trees[0]?.overlays[0]?.overlays[0]).toMatchObject({
      health: "warning",
      problems: [{ code: "backing-format-wrong", severity: "warning" }],
    });
  });

  it("marks, damage and what is not understood", async () => {
    await patch("base", 79, 1);
    await patch("middle", 40, 0, 0, 1);
    await patch("top", 72, 0x80);
    expect(await drawn()).toEqual(["base:dirty(middle:invalid(top:backing-broken+unsupported))"]);
    await fs.truncate(inDirectory("base"), 50);
    expect((await only("base")).problems).toMatchObject([{ code: "invalid", cause: { code: "truncated" } }]);
  });

  it("an external data file that is missing", async () => {
    const dataPath = inDirectory("data.raw");
    const dataStorage = await FileStorage.open(dataPath, { create: true });
    const disk = await Qcow2Image.create({
      storage: await FileStorage.open(inDirectory("with-data"), { create: true }),
      size: MIB,
      dataFile: { name: dataPath, storage: dataStorage },
    });
    await disk.write({ offset: 0, from: new Uint8Array(MIB).fill(1) });
    await disk.close();
    const node = await only("with-data");
    expect(node.problems).toEqual([]);
    expect(node.actualSize).toBeGreaterThan(MIB);
    await fs.rm(dataPath);
    expect(await only("with-data")).toMatchObject({
      health: "broken",
      problems: [{ code: "data-file-missing", message: expect.stringContaining(dataPath) }],
    });
    expect((await only("with-data", { followReferences: "none" })).problems).toMatchObject([
      { severity: "note", code: "data-file-unknown" },
    ]);
  });

  it.skipIf(!hasNativeCalls)("use by others is told, and their lock is not in the way", async () => {
    const writer = await FileStorage.open(inDirectory("top"));
    await patch("top", 79, 1);
    expect(await only("middle", { paths: [inDirectory()] })).toMatchObject({ use: "nothing" });
    const find = async (): Promise<ImageNode> =>
      (await imageTrees({ paths: [inDirectory()] })).trees[0]!.overlays[0]!.overlays[0]!;
    expect(await find()).toMatchObject({ use: "writing", problems: [] });
    await writer.close();
    expect(await find()).toMatchObject({ use: "nothing", problems: [{ code: "dirty" }] });
  });
});

describe("with check", () => {
  it("damage that the header does not show is found, and progress told", async () => {
    await image("good.qcow2");
    await image("bad.qcow2");
    await image("leak.qcow2");
    // The first refcount block says how often the first clusters are used.
    await patch("bad.qcow2", 2 * 65536, 0, 0);
    await patch("leak.qcow2", 2 * 65536 + 2 * 20, 0, 1);
    await fs.truncate(inDirectory("leak.qcow2"), 21 * 65536);
    const marks: number[] = [];
    const onProgress = (done: number, total: number): void => void marks.push(done / total);
    expect(await drawn()).toEqual(["bad.qcow2", "good.qcow2", "leak.qcow2"]);
    expect(await drawn({ check: true, onProgress })).toEqual([
      "bad.qcow2:corruptions",
      "good.qcow2",
      "leak.qcow2:leaks",
    ]);
    expect(marks.at(-1)).toBeCloseTo(1);
    const { trees } = await imageTrees({ paths: [inDirectory("good.qcow2")], check: true });
    expect(trees[0]?.check).toMatchObject({ allocatedClusters: 1, totalClusters: 16 });
  });

  it("images elsewhere are not checked, and the signal stops it", async () => {
    await fs.mkdir(inDirectory("images"));
    await image("base");
    await image("images/top", { backing: "../base" });
    const { trees } = await imageTrees({ paths: [inDirectory("images")], check: true });
    expect([trees[0]?.check, trees[0]?.overlays[0]?.check?.corruptions]).toEqual([undefined, 0]);
    const reason = new Error("enough");
    const signal = AbortSignal.abort(reason);
    await expect(imageTrees({ paths: [inDirectory("images")], check: true, signal })).rejects.toBe(reason);
  });

  it.skipIf(!hasNativeCalls)("an image that is written to is not checked, and that is said", async () => {
    await image("busy");
    await using _writer = await FileStorage.open(inDirectory("busy"));
    expect(await only("busy", { check: true })).toMatchObject({
      health: "warning",
      check: undefined,
      problems: [{ code: "not-checked", cause: { code: "locked" } }],
    });
  });
});

it("files that block or cannot be read do no harm", async () => {
  await image("top.qcow2");
  for (const name of ["/proc/kmsg", "/dev/tty", "/", "a\0b"]) {
    await setBacking("top.qcow2", name, null);
    const base = (await imageTrees({ paths: [inDirectory()] })).trees[0]!;
    expect(
      base.overlays.map(({ path }) => path),
      name,
    ).toEqual([inDirectory("top.qcow2")]);
  }
  if (process.platform !== "win32") {
    await execa("mkfifo", [inDirectory("pipe.img")]);
    await setBacking("top.qcow2", "pipe.img", null);
    expect(await drawn()).toEqual(["pipe.img:unreadable(top.qcow2:backing-broken+backing-format-missing)"]);
  }
});

it("a thousand overlays of one base, and a chain of a hundred, take seconds", async () => {
  await image("base");
  const overlay = async (name: string, backing: string): Promise<void> => {
    await fs.copyFile(inDirectory("base"), inDirectory(name));
    await setBacking(name, backing);
  };
  await overlay("overlay", "base");
  for (let index = 0; index < 1000; index++)
    await fs.copyFile(inDirectory("overlay"), inDirectory(`o${index}`));
  for (let index = 1; index <= 100; index++)
    await overlay(`c${index}`, index === 1 ? "base" : `c${index - 1}`);
  const begun = performance.now();
  const { trees } = await imageTrees({ paths: [inDirectory()] });
  expect(performance.now() - begun).toBeLessThan(10_000);
  expect(trees).toHaveLength(1);
  expect(trees[0]?.overlays).toHaveLength(1002);
  let depth = 0;
  for (let node = trees[0]; node !== undefined; node = node.overlays.find(({ path }) => /c\d+$/.test(path)))
    depth++;
  expect(depth).toBe(101);
}, 60_000);
