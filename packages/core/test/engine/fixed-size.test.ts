/** Images on storages that can neither grow nor shrink, as block devices: what is free inside is used. */
import { checkStorage, isQcow2Error, MemoryStorage, Qcow2Image, type Storage } from "@qcow2/core";
import { content, ENGINE_CODECS, FixedSizeStorage, KeptStorage } from "@qcow2/testing";
import { expect, it } from "vitest";

const CLUSTER = 4096;
const SIZE = 64 * CLUSTER;

interface Device {
  readonly storage: MemoryStorage;
  readonly open: () => Storage;
}

/** An image with 16 clusters of data, two of zeroes and a snapshot, on a device that held something else before. */
async function newDevice(clusters: number, version: 2 | 3 = 3): Promise<Device> {
  const storage = new MemoryStorage({ bytes: new Uint8Array(clusters * CLUSTER).fill(0xa5) });
  const open = (): Storage => new FixedSizeStorage(new KeptStorage(storage), clusters * CLUSTER);
  const image = await Qcow2Image.create({ storage: open(), size: SIZE, clusterSize: CLUSTER, version });
  await image.write({ offset: 0, from: new Uint8Array(16 * CLUSTER).fill(1) });
  await image.createSnapshot({ name: "kept" });
  await image.write({ offset: 2 * CLUSTER, from: new Uint8Array(4 * CLUSTER).fill(2) });
  if (version === 3) await image.writeZeroes({ offset: 4 * CLUSTER, length: 2 * CLUSTER });
  await image.close();
  return { storage, open };
}

async function diskOf({ open }: Device, snapshot?: string): Promise<Buffer> {
  const image = await Qcow2Image.open({ storage: open(), readOnly: true, snapshot });
  const into = Buffer.alloc(image.size);
  await image.read({ offset: 0, into });
  await image.close();
  return into;
}

/** The disk, and what the snapshot keeps of it. */
async function bothOf(device: Device): Promise<Buffer> {
  return Buffer.concat([await diskOf(device), await diskOf(device, "kept")]);
}

async function setDirty(storage: MemoryStorage): Promise<void> {
  const byte = new Uint8Array(1);
  await storage.read(79, byte);
  await storage.write(79, Uint8Array.of((byte[0] as number) | 1));
}

it("rebuilds the refcounts of a dirty image within the device", async () => {
  const device = await newDevice(80);
  const before = await bothOf(device);
  await setDirty(device.storage);
  const table = new Uint8Array(8);
  await device.storage.read(48, table);
  const image = await Qcow2Image.open({ storage: device.open() });
  await image.close();
  expect(await checkStorage(device.storage)).toMatchObject({ corruptions: 0, leaks: 0, checkErrors: 0 });
  const moved = new Uint8Array(8);
  await device.storage.read(48, moved);
  expect(moved).not.toEqual(table);
  expect((await bothOf(device)).equals(before)).toBe(true);
});

it("leaves a dirty image as it is if there is no room", async () => {
  const device = await newDevice(50);
  const image = await Qcow2Image.open({ storage: device.open() });
  let full: unknown;
  for (let cluster = 16; full === undefined; cluster++) {
    const write = image.write({ offset: cluster * CLUSTER, from: new Uint8Array(CLUSTER).fill(3) });
    await write.catch((error: unknown) => {
      full = error;
    });
  }
  expect(isQcow2Error(full, "io") && full.data.errno).toBe("ENOSPC");
  await image.close();
  expect(await checkStorage(device.storage)).toMatchObject({ corruptions: 0, leaks: 0 });
  await setDirty(device.storage);
  const bytes = Buffer.from(device.storage.toBytes());
  await expect(Qcow2Image.open({ storage: device.open() })).rejects.toSatisfy(
    (error) => isQcow2Error(error, "io") && error.data.errno === "ENOSPC",
  );
  expect(Buffer.compare(device.storage.toBytes(), bytes)).toBe(0);
});

it.each(["off", "metadata", "falloc", "full"] as const)(
  "makes the disk larger: %s",
  async (preallocation) => {
    for (const version of [2, 3] as const) {
      const device = await newDevice(160, version);
      const image = await Qcow2Image.open({ storage: device.open() });
      // A version 2 image with snapshots is not resized.
      if (version === 2) await image.deleteSnapshot({ name: "kept" });
      const before = await diskOf(device);
      await image.resize({ size: SIZE + 40 * CLUSTER, preallocation });
      await image.close();
      expect((await diskOf(device)).equals(Buffer.concat([before, Buffer.alloc(40 * CLUSTER)]))).toBe(true);
      expect(await checkStorage(device.storage)).toMatchObject({ corruptions: 0, leaks: 0 });
    }
  },
);

it("steps down to version 2, with zero clusters", async () => {
  const device = await newDevice(80);
  const before = await bothOf(device);
  const image = await Qcow2Image.open({ storage: device.open() });
  await image.amend({ version: 2 });
  await image.close();
  expect((await bothOf(device)).equals(before)).toBe(true);
  expect(await checkStorage(device.storage)).toMatchObject({ corruptions: 0, leaks: 0 });
});

it("says that there is no room, and leaves the image as it is", async () => {
  const device = await newDevice(80);
  const before = await bothOf(device);
  const image = await Qcow2Image.open({ storage: device.open() });
  await expect(image.resize({ size: SIZE + 400 * CLUSTER, preallocation: "metadata" })).rejects.toSatisfy(
    (error) => isQcow2Error(error, "io") && error.data.errno === "ENOSPC",
  );
  await image.close();
  expect((await bothOf(device)).equals(before)).toBe(true);
  expect(await checkStorage(device.storage)).toMatchObject({ corruptions: 0, leaks: 0 });
});

it("puts compressed data where there is room, although the last cluster of the device is full", async () => {
  const clusters = 32;
  const storage = new MemoryStorage({ bytes: new Uint8Array(clusters * CLUSTER) });
  const open = (): Storage => new FixedSizeStorage(new KeptStorage(storage), clusters * CLUSTER);
  const codecs = ENGINE_CODECS;
  const image = await Qcow2Image.create({ storage: open(), size: 4 * SIZE, clusterSize: CLUSTER, codecs });
  await image.write({ offset: 0, from: new Uint8Array(8 * CLUSTER).fill(1) });
  let next = 8;
  const fill = async (): Promise<void> => {
    const random = content({ kind: "random", seed: next, length: 1500 });
    for (;;) {
      const from = new Uint8Array(CLUSTER);
      from.set(random);
      await image.writeCompressed({ offset: next * CLUSTER, from });
      next++;
    }
  };
  await expect(fill()).rejects.toSatisfy(
    (error) => isQcow2Error(error, "io") && error.data.errno === "ENOSPC",
  );
  const full = next;
  await image.discard({ offset: 0, length: 8 * CLUSTER });
  await image.flush();
  await expect(fill()).rejects.toSatisfy(
    (error) => isQcow2Error(error, "io") && error.data.errno === "ENOSPC",
  );
  // Two of them to a cluster at least.
  expect(next - full).toBeGreaterThanOrEqual(16);
  await image.close();
  expect(await checkStorage(storage)).toMatchObject({ corruptions: 0, leaks: 0 });
});
