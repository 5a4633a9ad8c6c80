import fs from "node:fs/promises";
import { Qcow2Image } from "@qcow2/core";
import { expect, it } from "vitest";
import { FileStorage } from "../src/file/file-storage.ts";
import { openDisk } from "../src/open/open-disk.ts";
import { fileReferences } from "../src/references/file-references.ts";
import { backingPathOf, findOverlays } from "../src/references/find-overlays.ts";
import { useTemporaryDirectory } from "./temporary-directory.ts";

const inDirectory = useTemporaryDirectory();

/** An image, by default without a backing file, that holds `fill` in its first sector. */
async function image(name: string, fill: number, backing?: string): Promise<void> {
  const storage = await FileStorage.open(inDirectory(name), { create: true });
  const backingFile = backing === undefined ? undefined : { name: backing, format: "qcow2" };
  await using disk = await Qcow2Image.create({
    storage,
    size: 2 ** 20,
    backingFile,
    references: fileReferences(),
  });
  await disk.write({ offset: fill * 512, from: new Uint8Array(512).fill(fill) });
}

it("finds the images that name one as their backing file, whatever they call it", async () => {
  await fs.mkdir(inDirectory("deeper"));
  await image("base", 1);
  await fs.symlink(inDirectory("base"), inDirectory("deeper/link"));
  await image("relative", 2, "base");
  await image("absolute", 3, inDirectory("base"));
  await image("deeper/up", 4, "../base");
  await image("deeper/through-a-link", 5, "link");
  await image("upper", 6, "relative");
  await image("alone", 7);
  await fs.writeFile(inDirectory("short"), "QFI\xfb", "latin1");
  await fs.writeFile(inDirectory("text"), "QFI and other words");
  const find = async (of: string, except: string[] = []): Promise<string[]> => {
    const directories = [inDirectory(), inDirectory("deeper")];
    const found = await findOverlays({ of: [inDirectory(of)], directories, except: except.map(inDirectory) });
    return found.map((file) => file.slice(inDirectory().length + 1)).sort();
  };
  expect(await find("base")).toEqual(["absolute", "deeper/through-a-link", "deeper/up", "relative"]);
  expect(await find("base", ["absolute", "deeper/up"])).toEqual(["deeper/through-a-link", "relative"]);
  expect(await find("relative")).toEqual(["upper"]);
  expect(await find("upper")).toEqual([]);
  expect(await find("missing")).toEqual([]);
  expect(await backingPathOf(inDirectory("deeper/up"))).toBe(`${inDirectory("deeper")}/../base`);
  expect(await backingPathOf(inDirectory("text"))).toBeUndefined();
});

it("finds images whose backing file is named in QEMU's JSON, which nothing here opens", async () => {
  await image("base", 1);
  const base = inDirectory("base");
  const names = {
    flat: `json:{"driver":"qcow2","file.driver":"file","file.filename":"${base}"}`,
    nested: `json:{"driver":"qcow2","file":{"driver":"file","filename":"file:${base}"}}`,
    quoted: `json:{'driver':'raw','file':{'driver':'qcow2','file':{'filename':'${base}'}}}`,
    beside: `json:{"file.filename":"base"}`,
    other: `json:{"driver":"qcow2","file.filename":"${inDirectory("flat")}"}`,
    broken: `json:{"file.filename":"${base}"`,
  };
  for (const [name, backing] of Object.entries(names)) {
    await image(name, 1);
    await using disk = await openDisk({ path: inDirectory(name), metadataOnly: true });
    await (disk as Qcow2Image).setBackingFile({ name: backing, format: "qcow2" });
  }
  const found = await findOverlays({ of: [base], directories: [inDirectory()] });
  expect(found.map((file) => file.slice(inDirectory().length + 1)).sort()).toEqual([
    "beside",
    "flat",
    "nested",
    "quoted",
  ]);
});

it("opens the wanted layer for writing, and the others for reading", async () => {
  await image("base", 1);
  await image("mid", 2, "base");
  await image("top", 3, "mid");
  const top = (await openDisk({ path: inDirectory("top"), writableBacking: 2 })) as Qcow2Image;
  const mid = top.backing as Qcow2Image;
  const base = mid.backing as Qcow2Image;
  expect([top.readOnly, mid.readOnly, base.readOnly]).toEqual([false, true, false]);
  await base.write({ offset: 2 ** 18, from: new Uint8Array(512).fill(9) });
  const read = new Uint8Array(512);
  await top.read({ offset: 2 ** 18, into: read });
  expect(read.every((byte) => byte === 9)).toBe(true);
  await top.close();
  await using reopened = await openDisk({ path: inDirectory("base"), readOnly: true });
  await reopened.read({ offset: 2 ** 18, into: read });
  expect(read.every((byte) => byte === 9)).toBe(true);
});
