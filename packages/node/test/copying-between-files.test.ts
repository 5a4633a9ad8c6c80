/** What the host copies from file to file, on a real file system. */
import fs from "node:fs/promises";
import { type Extent, MemoryStorage, Qcow2Image, type StoredBytes } from "@qcow2/core";
import { expect, it } from "vitest";
import { FileStorage } from "../src/file/file-storage.ts";
import { incompressible } from "./bytes.ts";
import { useTemporaryDirectory } from "./temporary-directory.ts";

const KIB = 1024;
const inDirectory = useTemporaryDirectory();
const bytes = incompressible(300 * KIB, 5);

async function sourceFile(): Promise<FileStorage> {
  await fs.writeFile(inDirectory("source"), bytes);
  return await FileStorage.open(inDirectory("source"), { readOnly: true });
}

it("copies any range to any place, and grows the file", async ({ skip }) => {
  await using source = await sourceFile();
  await using target = await FileStorage.open(inDirectory("target"), { create: true });
  if (target.copyFrom === undefined) return skip("the host is not asked to copy here");
  await target.write(0, new Uint8Array(200 * KIB).fill(9));
  expect(await target.copyFrom(64 * KIB + 1, { storage: source, offset: 77, length: 250 * KIB })).toBe(true);
  const expected = Buffer.concat([Buffer.alloc(64 * KIB + 1, 9), bytes.subarray(77, 77 + 250 * KIB)]);
  expect((await fs.readFile(inDirectory("target"))).equals(expected)).toBe(true);
});

it.each<readonly [string, (source: FileStorage) => StoredBytes]>([
  [
    "a storage that is no file",
    () => ({ storage: new MemoryStorage({ bytes }), offset: 0, length: 64 * KIB }),
  ],
  ["what the source does not have", (storage) => ({ storage, offset: 250 * KIB, length: 64 * KIB })],
])("does not copy %s, and leaves an image as it was", async (_, from) => {
  await using source = await sourceFile();
  await using target = await FileStorage.open(inDirectory("target"), { create: true });
  const stored = from(source);
  expect((await target.copyFrom?.(0, stored)) ?? false).toBe(false);
  const storage = await FileStorage.open(inDirectory("image"), { create: true });
  await using image = await Qcow2Image.create({ storage, size: 64 * KIB });
  expect(await image.writeStored({ offset: 0, from: stored })).toBe(false);
  await image.flush();
  const extents: Extent[] = [];
  for await (const extent of image.map()) extents.push(extent);
  expect(extents).toMatchObject([{ kind: "zero", stored: false, length: 64 * KIB }]);
  expect(await image.check()).toMatchObject({ corruptions: 0, leaks: 0 });
});

it("takes whole clusters, and tells where they lie", async ({ skip }) => {
  const storage = await FileStorage.open(inDirectory("base"), { create: true });
  await using image = await Qcow2Image.create({ storage, size: 256 * KIB });
  await using source = await sourceFile();
  const from = { storage: source, offset: 1, length: 128 * KIB };
  if (storage.copyFrom === undefined) return skip("the host is not asked to copy here");
  expect(await image.writeStored({ offset: 64 * KIB, from })).toBe(true);
  for (const request of [
    { offset: 512, from },
    { offset: 0, from: { ...from, length: 1000 } },
  ]) {
    await expect(image.writeStored(request)).rejects.toThrow(RangeError);
  }
  const found: Buffer[] = [];
  for await (const extent of image.map()) {
    const stored = image.storedAt(extent);
    expect(stored === undefined).toBe(extent.kind === "zero");
    if (stored === undefined) continue;
    const into = Buffer.alloc(stored.length);
    await stored.storage.read(stored.offset, into);
    found.push(into);
  }
  expect(Buffer.concat(found).equals(bytes.subarray(1, 1 + 128 * KIB))).toBe(true);
});

it("is not asked for where every write is on the disk when it ends", async () => {
  await using target = await FileStorage.open(inDirectory("target"), { create: true, cache: "writethrough" });
  expect(target.copyFrom).toBeUndefined();
});
