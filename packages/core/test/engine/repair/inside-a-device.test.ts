/** Refcounts that are rebuilt on storages that cannot grow: new blocks and a new table go wherever nothing is. */
import { checkStorage, isQcow2Error, MemoryStorage, Qcow2Image, repairStorage } from "@qcow2/core";
import { FixedSizeStorage, KeptStorage } from "@qcow2/testing";
import { expect, it } from "vitest";

const CLUSTER = 512;
/** Clusters that one refcount block counts: those of the device need many blocks, and two clusters for their table. */
const PER_BLOCK = 64;
const DISK = 70 * PER_BLOCK * CLUSTER;
const REFCOUNT_TABLE_AT = 48;

class Device {
  readonly bytes: MemoryStorage;

  constructor(bytes: Uint8Array<ArrayBuffer>) {
    this.bytes = new MemoryStorage({ bytes });
  }

  open(): FixedSizeStorage {
    return new FixedSizeStorage(new KeptStorage(this.bytes), this.bytes.toBytes().length);
  }

  async numberAt(offset: number): Promise<number> {
    const bytes = new Uint8Array(8);
    await this.bytes.read(offset, bytes);
    return Number(new DataView(bytes.buffer).getBigUint64(0));
  }

  /** Everything that can be read: the disk and its snapshot. */
  async content(): Promise<Buffer> {
    const parts: Buffer[] = [];
    for (const snapshot of [undefined, "kept"]) {
      const image = await Qcow2Image.open({ storage: this.open(), readOnly: true, snapshot });
      const into = Buffer.alloc(image.size);
      await image.read({ offset: 0, into });
      await image.close();
      parts.push(into);
    }
    return Buffer.concat(parts);
  }
}

/** A disk that was written from its start to its end, on a device that is full but for `free`, which is given back then. */
async function newDevice(
  free: readonly { readonly offset: number; readonly length: number }[],
): Promise<Device> {
  const file = new MemoryStorage();
  const settings = { size: DISK, clusterSize: CLUSTER, refcountBits: 64 } as const;
  const image = await Qcow2Image.create({ storage: new KeptStorage(file), ...settings });
  await image.write({ offset: 0, from: new Uint8Array(64 * CLUSTER).fill(9) });
  await image.createSnapshot({ name: "kept" });
  const bytes = new Uint8Array(DISK);
  for (let at = 0; at < DISK; at += CLUSTER) bytes.fill(1 + ((at / CLUSTER) % 250), at, at + CLUSTER);
  await image.write({ offset: 0, from: bytes });
  await image.close();
  const { imageEndOffset } = await checkStorage(file);
  const device = new Device(file.toBytes().slice(0, imageEndOffset));
  const opened = await Qcow2Image.open({ storage: device.open() });
  for (const range of free) await opened.discard(range);
  await opened.close();
  return device;
}

const inTheMiddle = [{ offset: 20 * PER_BLOCK * CLUSTER, length: 3 * PER_BLOCK * CLUSTER }];
/** One cluster here and one there, and two in a row for the table. */
const scattered = [
  { offset: 10 * PER_BLOCK * CLUSTER, length: 4 * CLUSTER },
  ...Array.from({ length: 200 }, (_, index) => ({ offset: (1000 + 4 * index) * CLUSTER, length: CLUSTER })),
];

it.each([
  ["a run before data", inTheMiddle],
  ["scattered clusters", scattered],
])("opens a dirty image whose free room is %s", async (_, free) => {
  const device = await newDevice(free);
  const content = await device.content();
  const table = await device.numberAt(REFCOUNT_TABLE_AT);
  await device.bytes.write(79, Uint8Array.of(1));
  const image = await Qcow2Image.open({ storage: device.open() });
  await image.close();
  const moved = await device.numberAt(REFCOUNT_TABLE_AT);
  expect(moved).not.toBe(table);
  expect(await checkStorage(device.bytes)).toMatchObject({ corruptions: 0, leaks: 0, checkErrors: 0 });
  expect((await device.content()).equals(content)).toBe(true);
});

it.each([
  ["a run before data", inTheMiddle],
  ["scattered clusters", scattered],
])("repairs refcounts that are lost where free room is %s", async (_, free) => {
  const device = await newDevice(free);
  const content = await device.content();
  const table = await device.numberAt(REFCOUNT_TABLE_AT);
  // The last blocks are unknown: what they counted is behind all that is free.
  await device.bytes.write(table + 60 * 8, new Uint8Array(15 * 8));
  const { after } = await repairStorage(device.open(), { what: "all" });
  expect(after).toMatchObject({ corruptions: 0, leaks: 0, checkErrors: 0 });
  expect(await checkStorage(device.bytes)).toMatchObject({ corruptions: 0, leaks: 0, checkErrors: 0 });
  expect((await device.content()).equals(content)).toBe(true);
});

it("leaves the image as it is if what is free is too little", async () => {
  const device = await newDevice(scattered.slice(0, 50));
  await device.bytes.write(79, Uint8Array.of(1));
  const before = Buffer.from(device.bytes.toBytes());
  await expect(Qcow2Image.open({ storage: device.open() })).rejects.toSatisfy(
    (error) => isQcow2Error(error, "io") && error.data.errno === "ENOSPC",
  );
  expect(Buffer.compare(device.bytes.toBytes(), before)).toBe(0);
});

it("writes nothing into a dirty image of which something cannot be read, because its clusters look free", async () => {
  const device = await newDevice(inTheMiddle);
  const snapshots = await device.numberAt(64);
  // The snapshot's L1 table is said to be behind the end: all that the snapshot alone has looks unused.
  await device.bytes.write(snapshots, Uint8Array.of(0, 0, 0, 1, 0, 0, 0, 0));
  await device.bytes.write(79, Uint8Array.of(1));
  const before = Buffer.from(device.bytes.toBytes());
  await expect(Qcow2Image.open({ storage: device.open() })).rejects.toSatisfy((error) =>
    isQcow2Error(error, "needs-repair"),
  );
  expect(Buffer.compare(device.bytes.toBytes(), before)).toBe(0);
});
