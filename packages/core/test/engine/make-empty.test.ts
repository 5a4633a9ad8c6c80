/** Emptying an image: nothing is left of its disk, little of its file, and all of its snapshots. */
import { type ImageOptions, MemoryStorage, Qcow2Image } from "@qcow2/core";
import { ENGINE_SHAPES, KeptStorage, openShape, shapeNamed } from "@qcow2/testing";
import { expect, it } from "vitest";

const CLEAN = { corruptions: 0, leaks: 0, checkErrors: 0 };

it.each(ENGINE_SHAPES.filter(({ isDataFileRaw }) => !isDataFileRaw).map(({ name }) => name))(
  "%s",
  async (name) => {
    const { files } = await shapeNamed(name).build();
    const image = await openShape(files);
    await image.makeEmpty();
    const expected = new Uint8Array(image.size);
    expected.set(files.backing?.toBytes().subarray(0, image.size) ?? []);
    const actual = new Uint8Array(image.size).fill(0xa5);
    await image.read({ offset: 0, into: actual });
    expect(Buffer.compare(actual, expected)).toBe(0);
    expect(await image.check()).toMatchObject({ ...CLEAN, allocatedClusters: 0 });
    // It can be written again.
    await image.write({ offset: 700, from: new Uint8Array(100).fill(1) });
    await image.close();
    const reopened = await openShape(files, { readOnly: true });
    expected.fill(1, 700, 800);
    await reopened.read({ offset: 0, into: actual });
    expect(Buffer.compare(actual, expected)).toBe(0);
    expect(await reopened.check()).toMatchObject(CLEAN);
  },
);

it.each<ImageOptions>([
  {},
  { clusterSize: 512 },
  { clusterSize: 4096, version: 2 },
  { clusterSize: 16384, extendedL2: true },
  { clusterSize: 2 ** 16, refcountBits: 1 },
])("leaves a file of four parts: header, refcount table, refcount block, L1 table: %j", async (options) => {
  const storage = new MemoryStorage();
  const image = await Qcow2Image.create({
    ...options,
    storage: new KeptStorage(storage),
    size: 2 ** 24,
  });
  for (let offset = 0; offset < 2 ** 24; offset += 2 ** 20) {
    await image.write({ offset, from: new Uint8Array(2 ** 19).fill(1) });
  }
  await image.flush();
  await image.makeEmpty();
  const { clusterSize } = image.info();
  const l1Entries = Math.ceil(2 ** 24 / (clusterSize * (clusterSize / (options.extendedL2 ? 16 : 8))));
  const clusters = 3 + Math.ceil((l1Entries * 8) / clusterSize);
  expect((await storage.size()) / clusterSize).toBeLessThanOrEqual(clusters + 2);
  const before = await storage.size();
  await image.makeEmpty();
  await image.close();
  expect(await storage.size()).toBe(before);
});

it("leaves snapshots what they hold", async () => {
  const storage = new KeptStorage(new MemoryStorage());
  const image = await Qcow2Image.create({ storage, size: 2 ** 20, clusterSize: 4096 });
  await image.write({ offset: 0, from: new Uint8Array(2 ** 18).fill(1) });
  await image.createSnapshot({ name: "kept" });
  await image.write({ offset: 0, from: new Uint8Array(2 ** 19).fill(2) });
  await image.makeEmpty();
  expect(await image.check()).toMatchObject(CLEAN);
  await image.close();
  const snapshot = await Qcow2Image.open({ storage, snapshot: "kept" });
  const bytes = new Uint8Array(2 ** 20);
  await snapshot.read({ offset: 0, into: bytes });
  expect(bytes.subarray(0, 2 ** 18).every((byte) => byte === 1)).toBe(true);
  expect(bytes.subarray(2 ** 18).every((byte) => byte === 0)).toBe(true);
});

it("refuses an image whose external data file is to be read by itself", async () => {
  const { files } = await shapeNamed("raw external data file").build();
  const image = await openShape(files);
  const before = files.image.toBytes();
  await expect(image.makeEmpty()).rejects.toMatchObject({ code: "unsupported" });
  expect(Buffer.compare(files.image.toBytes(), before)).toBe(0);
  await image.close();
});
