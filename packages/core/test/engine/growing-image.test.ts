/** Images that outgrow what they were created with. */
import { MemoryStorage, Qcow2Image, RawDisk, type References } from "@qcow2/core";
import { CountingStorage } from "@qcow2/testing";
import { expect, it } from "vitest";

it("checks an open image whose refcount table has moved", async () => {
  const image = await Qcow2Image.create({ storage: new MemoryStorage(), size: 20 << 20, clusterSize: 512 });
  await image.write({ offset: 0, from: new Uint8Array(12 << 20).fill(7) });
  expect(await image.check()).toMatchObject({ corruptions: 0, leaks: 0, checkErrors: 0 });
  await image.close();
});

it("writes tables out while it zeroes a disk that has more of them than the cache holds", async () => {
  const kept = new MemoryStorage();
  const references: References = {
    openBackingFile: async () => RawDisk.open({ storage: new MemoryStorage(), size: 2 ** 36 }),
    openDataFile: async () => new MemoryStorage(),
  };
  const backingFile = { name: "backing", format: "raw" };
  await Qcow2Image.create({ storage: kept, size: 2 ** 36, backingFile, references });
  const storage = new CountingStorage(kept);
  const l2CacheBytes = 16 * 65536;
  const image = await Qcow2Image.open({ storage, references, l2CacheBytes });
  await image.writeZeroes({ offset: 0, length: 2 ** 36 });
  // 128 tables of 64 KiB: all but what the cache holds are on disk.
  expect(storage.bytesWritten).toBeGreaterThan(128 * 65536 - l2CacheBytes);
  await image.close();
});
