/** Snapshots of images that others have left as this library would not. */
import { isQcow2Error, MemoryStorage, Qcow2Image } from "@qcow2/core";
import { KeptStorage } from "@qcow2/testing";
import { expect, it } from "vitest";

const CLUSTER = 4096;
const SIZE = 64 * CLUSTER;
const CLEAN = { corruptions: 0, leaks: 0, checkErrors: 0 };

async function uint64At(storage: MemoryStorage, at: number): Promise<number> {
  const bytes = new Uint8Array(8);
  await storage.read(at, bytes);
  return Number(new DataView(bytes.buffer).getBigUint64(0) & 0x00ff_ffff_ffff_fe00n);
}

/** Marks every cluster of the first snapshot as its alone, as QEMU does when it deletes another one that shared them. */
async function markAsOwn(storage: MemoryStorage): Promise<void> {
  const l1 = await uint64At(storage, await uint64At(storage, 64));
  const l2 = await uint64At(storage, l1);
  for (let index = 0; index < SIZE / CLUSTER; index++) {
    const high = new Uint8Array(1);
    await storage.read(l2 + index * 8, high);
    await storage.write(l2 + index * 8, Uint8Array.of((high[0] as number) | 0x80));
  }
}

it("applies one whose tables say that its clusters have one user: both have them from then on", async () => {
  const storage = new MemoryStorage();
  const before = await Qcow2Image.create({
    storage: new KeptStorage(storage),
    size: SIZE,
    clusterSize: CLUSTER,
  });
  await before.write({ offset: 0, from: new Uint8Array(SIZE).fill(1) });
  await before.createSnapshot({ name: "first" });
  await before.write({ offset: 0, from: new Uint8Array(SIZE).fill(2) });
  await before.close();
  await markAsOwn(storage);
  await using image = await Qcow2Image.open({ storage: new KeptStorage(storage) });
  expect(await image.check()).toMatchObject(CLEAN);
  await image.applySnapshot({ name: "first" });
  expect(await image.check()).toMatchObject(CLEAN);
  await image.write({ offset: 0, from: new Uint8Array(SIZE).fill(3) });
  await image.applySnapshot({ name: "first" });
  const into = new Uint8Array(SIZE);
  await image.read({ offset: 0, into });
  expect(into.every((byte) => byte === 1)).toBe(true);
  expect(await image.check()).toMatchObject(CLEAN);
});

it("applies none whose disk would need a larger L1 table than there may be, and changes nothing", async () => {
  const storage = new MemoryStorage();
  const options = { storage: new KeptStorage(storage), size: SIZE, clusterSize: CLUSTER };
  const before = await Qcow2Image.create(options);
  await before.write({ offset: 0, from: new Uint8Array(SIZE).fill(1) });
  await before.createSnapshot({ name: "first" });
  await before.close();
  const size = new Uint8Array(8);
  new DataView(size.buffer).setBigUint64(0, 0x1f_ffff_ffff_fe00n);
  await storage.write((await uint64At(storage, 64)) + 48, size);
  const bytes = storage.toBytes();
  const image = await Qcow2Image.open({ storage: new KeptStorage(storage) });
  await expect(image.applySnapshot({ name: "first" })).rejects.toSatisfy((error) =>
    isQcow2Error(error, "limit-exceeded"),
  );
  await image.close();
  expect(Buffer.compare(storage.toBytes(), bytes)).toBe(0);
});
