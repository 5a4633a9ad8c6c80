/** Images that are told by more than a path: parts of files, other backing files, other data files. */
import fs from "node:fs/promises";
import { type Disk, isQcow2Error, Qcow2Image } from "@qcow2/core";
import { describe, expect, it } from "vitest";
import { FileStorage } from "../src/file/file-storage.ts";
import { openImageStorage } from "../src/open/image-place.ts";
import { type OpenDiskOptions, openDisk } from "../src/open/open-disk.ts";
import { fileReferences } from "../src/references/file-references.ts";
import { useTemporaryDirectory } from "./temporary-directory.ts";

const inDirectory = useTemporaryDirectory();
const SIZE = 2 ** 20;
const CLUSTER = 65536;

const open = (name: string, options: Omit<OpenDiskOptions, "path"> = {}) =>
  openDisk({ path: inDirectory(name), readOnly: true, ...options });

async function makeImage(name: string, byte: number, backing?: string): Promise<void> {
  const storage = await FileStorage.open(inDirectory(name), { create: true });
  await using image = await Qcow2Image.create({
    storage,
    size: SIZE,
    backingFile: backing === undefined ? undefined : { name: backing, format: "qcow2" },
    references: fileReferences(),
  });
  await image.write({ offset: byte * CLUSTER, from: new Uint8Array(CLUSTER).fill(byte) });
}

/** The first byte of each of the first clusters. */
async function clusters(disk: Disk): Promise<number[]> {
  const into = new Uint8Array(SIZE);
  await disk.read({ offset: 0, into });
  return [1, 2, 3].map((index) => into[index * CLUSTER] as number);
}

async function makeChain(): Promise<void> {
  await makeImage("base", 1);
  await makeImage("middle", 2, "base");
  await makeImage("top", 3, "middle");
  await fs.writeFile(inDirectory("raw"), new Uint8Array(SIZE).fill(7));
}

describe("the backing file", () => {
  it.each<[string, OpenDiskOptions["backing"], number[]]>([
    ["as the image says", undefined, [1, 2, 3]],
    ["none", "none", [0, 0, 3]],
    ["none, further down", { backing: "none" }, [0, 2, 3]],
    ["another file", { path: "raw", format: "raw" }, [7, 7, 3]],
    ["another file further down", { backing: { path: "raw", format: "raw" } }, [7, 2, 3]],
    ["an image with another backing file", { path: "middle", backing: "none" }, [0, 2, 3]],
    ["part of a file", { path: "raw", format: "raw", range: { offset: 0, length: CLUSTER * 2 } }, [7, 0, 3]],
  ])("%s", async (_, backing, expected) => {
    await makeChain();
    await using disk = await open("top", { backing: within(backing), probeBacking: true });
    expect(await clusters(disk)).toEqual(expected);
  });

  it("of an image that names none", async () => {
    await makeChain();
    await using disk = await open("base", { backing: { path: inDirectory("raw"), format: "raw" } });
    expect(await clusters(disk)).toEqual([1, 7, 7]);
  });

  it("cannot be the image itself, nor guessed without leave", async () => {
    await makeChain();
    const codes = await Promise.all(
      ["top", "raw"].map(async (name) => {
        const error: unknown = await open("top", {
          backing: { path: inDirectory(name), format: name === "top" ? "qcow2" : undefined },
        }).catch((reason: unknown) => reason);
        return isQcow2Error(error) ? error.code : error;
      }),
    );
    expect(codes).toEqual(["reference-loop", "backing-format-missing"]);
  });
});

/** Paths are resolved against the directory of the test. */
function within(backing: OpenDiskOptions["backing"]): OpenDiskOptions["backing"] {
  if (typeof backing !== "object") return backing;
  const { path } = backing;
  return {
    ...backing,
    path: path === undefined ? undefined : inDirectory(path),
    backing: within(backing.backing),
  };
}

it("a part of a file is an image of its own, and can be written in place", async () => {
  await makeImage("image", 2);
  const image = await fs.readFile(inDirectory("image"));
  const around = Buffer.alloc(5000, 9);
  await fs.writeFile(inDirectory("archive"), Buffer.concat([around, image, around]));
  const range = { offset: around.length, length: image.length };
  {
    await using disk = await open("archive", { format: "qcow2", range, readOnly: false });
    expect(await clusters(disk)).toEqual([0, 2, 0]);
    await disk.write({ offset: 2 * CLUSTER, from: new Uint8Array([5]) });
    // A new cluster does not fit.
    await expect(disk.write({ offset: 0, from: new Uint8Array(1) })).rejects.toMatchObject({
      code: "io",
      data: { errno: "ENOSPC" },
    });
  }
  const after = await fs.readFile(inDirectory("archive"));
  expect(after.subarray(0, 5000).equals(around)).toBe(true);
  expect(after.subarray(-5000).equals(around)).toBe(true);
  await using disk = await open("archive", { range });
  expect({ format: disk.format, clusters: await clusters(disk) }).toEqual({
    format: "qcow2",
    clusters: [0, 5, 0],
  });
  await using storage = await openImageStorage(inDirectory("archive"), { range, readOnly: true });
  expect(await storage.size()).toBe(image.length);
  await expect(open("archive", { range: { offset: 10 ** 9 } })).rejects.toMatchObject({
    code: "out-of-range",
  });
});

it("an external data file may be named anew", async () => {
  const data = await FileStorage.open(inDirectory("data"), { create: true });
  const storage = await FileStorage.open(inDirectory("image"), { create: true });
  const image = await Qcow2Image.create({
    storage,
    size: SIZE,
    dataFile: { name: inDirectory("data"), storage: data },
  });
  await image.write({ offset: CLUSTER, from: new Uint8Array(CLUSTER).fill(4) });
  await image.close();
  await fs.rename(inDirectory("data"), inDirectory("moved"));
  await expect(open("image")).rejects.toMatchObject({ code: "io" });
  await using disk = await open("image", { dataFile: inDirectory("moved") });
  expect(await clusters(disk)).toEqual([4, 0, 0]);
});

it("without locking, others are neither respected nor kept away", async () => {
  await makeImage("image", 1);
  await using first = await open("image", { readOnly: false });
  await using second = await open("image", { readOnly: false, locking: false });
  expect(await clusters(second)).toEqual(await clusters(first));
});
