/** Files whose names are no UTF-8, or begin with U+FEFF: each is opened, found and named as itself. */
import fs from "node:fs/promises";
import { type Disk, Qcow2Image } from "@qcow2/core";
import { execa } from "execa";
import { afterEach, expect, it } from "vitest";
import { FileStorage } from "../src/file/file-storage.ts";
import { hostPath } from "../src/file/host-path.ts";
import { openDisk } from "../src/open/open-disk.ts";
import { fileReferences } from "../src/references/file-references.ts";
import { findOverlays } from "../src/references/find-overlays.ts";
import { TargetFile } from "../src/target/target-file.ts";
import { imageTrees } from "../src/trees/image-trees.ts";
import { useTemporaryDirectory } from "./temporary-directory.ts";

const inDirectory = useTemporaryDirectory();
// Node.js finds no names that are bytes when it removes a folder.
afterEach(async () => void (await execa("rm", ["-rf", inDirectory("")])));

// As bytes: ff, fe, ef bb bf in front, nothing in front, and what stands for bytes that were replaced.
const NAMES = ["a\udcff", "a\udcfe", "\ufeffa", "a", "a\ufffd"];

/** macOS and Windows have no names that are bytes. */
const isBytes = process.platform === "linux";

async function firstByte(disk: Disk): Promise<number> {
  const sector = new Uint8Array(512);
  await disk.read({ offset: 0, into: sector });
  return sector[0] ?? -1;
}

/** A raw file for each name, each with another content. */
async function rawFiles(folder = ""): Promise<string[]> {
  const paths = NAMES.map((name) => inDirectory(folder + name));
  for (const [index, path] of paths.entries()) {
    await using file = await FileStorage.open(path, { create: true, exclusive: true });
    await file.write(0, new Uint8Array(512).fill(index + 1));
  }
  return paths;
}

it.skipIf(!isBytes)("files are made and opened by their bytes", async () => {
  await rawFiles();
  const names = (await fs.readdir(inDirectory(""), { encoding: "buffer" })).map((name) =>
    name.toString("hex"),
  );
  expect(names.sort()).toEqual(["61", "61efbfbd", "61fe", "61ff", "efbbbf61"]);
  for (const [index, name] of NAMES.entries()) {
    await using disk = await openDisk({ path: inDirectory(name), readOnly: true });
    expect(await firstByte(disk)).toBe(index + 1);
  }
  await expect(FileStorage.open(inDirectory("a\udcfd"))).rejects.toMatchObject({
    code: "io",
    data: { errno: "ENOENT", name: inDirectory("a\udcfd") },
  });
  await expect(FileStorage.open(inDirectory("a\ud800"), { create: true })).rejects.toMatchObject({
    code: "invalid-option",
  });
});

it.skipIf(!isBytes)("images lead to the files that they name, and are found by them", async () => {
  const paths = await rawFiles();
  for (const [index, name] of NAMES.entries()) {
    const path = inDirectory(`over-${name}`);
    const storage = await FileStorage.open(path, { create: true });
    const backingFile = { name, format: "raw" };
    await (
      await Qcow2Image.create({ storage, size: 512, references: fileReferences(), backingFile })
    ).close();
    for (const followReferences of ["any", "same-directory"] as const) {
      await using disk = await openDisk({ path, readOnly: true, followReferences });
      expect(await firstByte(disk)).toBe(index + 1);
    }
    expect(await findOverlays({ of: [paths[index] ?? ""], directories: [inDirectory("")] })).toEqual([path]);
  }
  const { trees } = await imageTrees({ paths: [inDirectory("")] });
  const found = trees.map((base) => [base.path, base.overlays.map(({ path }) => path)]);
  const expected = NAMES.map((name) => [inDirectory(name), [inDirectory(`over-${name}`)]]);
  expect(found.sort()).toEqual(expected.sort());
});

it.skipIf(!isBytes)("so do folders", async () => {
  await fs.mkdir(hostPath(inDirectory("folder\udcff")));
  await fs.mkdir(hostPath(inDirectory("folder\udcfe")));
  await rawFiles("folder\udcff/");
  const path = inDirectory("folder\udcff/over");
  const storage = await FileStorage.open(path, { create: true });
  const backingFile = { name: "a", format: "raw" };
  await (await Qcow2Image.create({ storage, size: 512, references: fileReferences(), backingFile })).close();
  await using disk = await openDisk({ path, readOnly: true, followReferences: "same-directory" });
  expect(await firstByte(disk)).toBe(NAMES.indexOf("a") + 1);
});

it.skipIf(!isBytes)(
  "targets whose names differ in such bytes alone are two files, through links too",
  async () => {
    for (const [index, name] of NAMES.entries()) {
      await fs.symlink(hostPath(name), hostPath(inDirectory(`link-${name}`)));
      for (const fill of [0, index + 1]) {
        const target = await TargetFile.create(inDirectory(fill === 0 ? name : `link-${name}`));
        await target.storage.write(0, new Uint8Array(512).fill(fill));
        await target.commit();
      }
    }
    for (const [index, name] of NAMES.entries()) {
      await using disk = await openDisk({ path: inDirectory(name), readOnly: true });
      expect(await firstByte(disk)).toBe(index + 1);
    }
    const left = await fs.readdir(inDirectory(""), { encoding: "buffer" });
    expect(left).toHaveLength(2 * NAMES.length);
  },
);
