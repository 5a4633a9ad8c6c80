/** Damaged metadata that leads a write to other metadata: refused, marked, and nothing is overwritten. */
import {
  checkStorage,
  isQcow2Error,
  type MemoryStorage,
  type MetadataClass,
  type OverlapCheck,
  Qcow2Image,
} from "@qcow2/core";
import { ENGINE_SHAPES, KeptStorage, openShape } from "@qcow2/testing";
import { expect, it } from "vitest";

const SHAPE = ENGINE_SHAPES.find(({ name }) => name === "shared with a snapshot");

const OFFSET_MASK = 0x00fffffffffffe00n;

/** An image with a snapshot, whose active disk has an L2 table of its own. */
async function damagedImage(metadataClass: MetadataClass): Promise<{
  readonly storage: MemoryStorage;
  /** Host byte offset of the metadata, whose cluster is counted as free. */
  readonly at: number;
}> {
  const { files } = await SHAPE!.build();
  const storage = files.image;
  const image = await Qcow2Image.open({ storage: new KeptStorage(storage) });
  await image.write({ offset: 0, from: new Uint8Array(1) });
  await image.close();
  const at = await offsetOf(storage, metadataClass);
  await setRefcount(storage, at / SHAPE!.clusterSize, 0);
  return { storage, at };
}

async function offsetOf(storage: MemoryStorage, metadataClass: MetadataClass): Promise<number> {
  const [activeL1, refcountTable, snapshots] = [
    await uint64At(storage, 40),
    await uint64At(storage, 48),
    await uint64At(storage, 64),
  ];
  const inactiveL1 = await uint64At(storage, snapshots);
  const offsets: Partial<Record<MetadataClass, number>> = {
    "main-header": 0,
    "active-l1": activeL1,
    "active-l2": await uint64At(storage, activeL1),
    "refcount-table": refcountTable,
    "refcount-block": await uint64At(storage, refcountTable),
    "snapshot-table": snapshots,
    "inactive-l1": inactiveL1,
    "inactive-l2": await uint64At(storage, inactiveL1),
  };
  return offsets[metadataClass] as number;
}

async function uint64At(storage: MemoryStorage, offset: number): Promise<number> {
  const bytes = new Uint8Array(8);
  await storage.read(offset, bytes);
  return Number(new DataView(bytes.buffer).getBigUint64(0) & OFFSET_MASK);
}

async function setRefcount(storage: MemoryStorage, cluster: number, value: number): Promise<void> {
  const block = await uint64At(storage, await uint64At(storage, 48));
  await storage.write(block + cluster * 2, Uint8Array.of(0, value));
}

async function clusterAt(storage: MemoryStorage, offset: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(SHAPE!.clusterSize);
  await storage.read(offset, bytes);
  return bytes;
}

async function diskOf(storage: MemoryStorage): Promise<Buffer> {
  const files = { image: storage, data: undefined, backing: undefined };
  const image = await openShape(files, { readOnly: true });
  const into = Buffer.alloc(image.size);
  await image.read({ offset: 0, into });
  await image.close();
  return into;
}

async function isMarkedCorrupt(storage: MemoryStorage): Promise<boolean> {
  const bytes = new Uint8Array(80);
  await storage.read(0, bytes);
  return ((bytes[79] as number) & 2) !== 0;
}

async function writeNewCluster(storage: MemoryStorage, overlapCheck?: OverlapCheck): Promise<unknown> {
  const image = await Qcow2Image.open({ storage: new KeptStorage(storage), overlapCheck });
  const clusterSize = SHAPE!.clusterSize;
  try {
    await image.write({ offset: 30 * clusterSize, from: new Uint8Array(clusterSize).fill(9) });
    return undefined;
  } catch (error) {
    const again = image.write({ offset: 0, from: new Uint8Array(1) });
    await expect(again).rejects.toSatisfy((next) => isQcow2Error(next, "corrupt"));
    const into = new Uint8Array(clusterSize);
    await image.read({ offset: 0, into });
    return error;
  } finally {
    await image.close();
  }
}

const CHECKED_BY_DEFAULT: readonly MetadataClass[] = [
  "main-header",
  "active-l1",
  "active-l2",
  "refcount-table",
  "refcount-block",
  "snapshot-table",
  "inactive-l1",
];

it.each(CHECKED_BY_DEFAULT)(
  "does not write over the %s, marks the image, and takes no more writes",
  async (kind) => {
    const { storage, at } = await damagedImage(kind);
    const before = await clusterAt(storage, at);
    const error = await writeNewCluster(storage);
    expect(isQcow2Error(error, "corrupt") && error.data.offset).toBe(at);
    expect(await isMarkedCorrupt(storage)).toBe(true);
    const after = await clusterAt(storage, at);
    // The mark itself is in the header.
    if (kind === "main-header") after[79] = before[79] as number;
    expect(Buffer.from(after).equals(before)).toBe(true);
    const reopening = Qcow2Image.open({ storage: new KeptStorage(storage) });
    await expect(reopening).rejects.toSatisfy((next) => isQcow2Error(next, "needs-repair"));
  },
);

it("what was accepted before the damage was met is in the file after closing", async () => {
  const { clusterSize } = SHAPE!;
  const { files } = await SHAPE!.build();
  const storage = files.image;
  const image = await Qcow2Image.open({ storage: new KeptStorage(storage) });
  const l1 = await uint64At(storage, 40);
  await image.write({ offset: 0, from: new Uint8Array(clusterSize).fill(1) });
  await image.close();
  const entry = new DataView(new ArrayBuffer(8));
  const l2 = await uint64At(storage, l1);
  entry.setBigUint64(0, (1n << 63n) | BigInt(l2));
  await storage.write(l2, new Uint8Array(entry.buffer));
  const disk = await diskOf(storage);
  const damaged = await Qcow2Image.open({ storage: new KeptStorage(storage) });
  // Into a new cluster, of which nothing is in the tables on disk yet.
  await damaged.write({ offset: 30 * clusterSize, from: new Uint8Array(clusterSize).fill(9) });
  disk.fill(9, 30 * clusterSize, 31 * clusterSize);
  const writing = damaged.write({ offset: 0, from: new Uint8Array(1) });
  await expect(writing).rejects.toSatisfy((error) => isQcow2Error(error, "corrupt"));
  await damaged.close();
  expect(await isMarkedCorrupt(storage)).toBe(true);
  // Guest cluster 0 shows the table, which has changed.
  expect((await diskOf(storage)).subarray(clusterSize).equals(disk.subarray(clusterSize))).toBe(true);
});

it("looks at the L2 tables of snapshots if it is asked to", async () => {
  for (const check of ["all", { "inactive-l2": true }] as const) {
    const { storage, at } = await damagedImage("inactive-l2");
    const before = await clusterAt(storage, at);
    expect(isQcow2Error(await writeNewCluster(storage, check), "corrupt")).toBe(true);
    expect(Buffer.from(await clusterAt(storage, at)).equals(before)).toBe(true);
  }
  const { storage, at } = await damagedImage("inactive-l2");
  const before = await clusterAt(storage, at);
  expect(await writeNewCluster(storage)).toBeUndefined();
  expect(Buffer.from(await clusterAt(storage, at)).equals(before)).toBe(true);
});

it("marks nothing where it is told not to look, and still takes no cluster that anything refers to", async () => {
  for (const check of ["none", "constant", { "active-l2": false }, { template: "constant" }] as const) {
    const { storage } = await damagedImage("active-l2");
    const before = await diskOf(storage);
    expect(await writeNewCluster(storage, check)).toBeUndefined();
    expect(await isMarkedCorrupt(storage)).toBe(false);
    before.fill(9, 30 * SHAPE!.clusterSize, 31 * SHAPE!.clusterSize);
    expect((await diskOf(storage)).equals(before), JSON.stringify(check)).toBe(true);
  }
});

it("refuses a name that is none", async () => {
  const { storage } = await damagedImage("active-l2");
  const opening = Qcow2Image.open({ storage, overlapCheck: { "active-l3": true } as OverlapCheck });
  await expect(opening).rejects.toSatisfy((error) => isQcow2Error(error, "invalid-option"));
});

it("does not write over a table that an L2 entry points at", async () => {
  const { files } = await ENGINE_SHAPES.find(({ name }) => name === "clusters of 4 KiB")!.build();
  const storage = files.image;
  const l1 = await uint64At(storage, 40);
  const l2 = await uint64At(storage, l1);
  for (const target of [l1, l2, await uint64At(storage, 48)]) {
    const entry = new DataView(new ArrayBuffer(8));
    entry.setBigUint64(0, (1n << 63n) | BigInt(target));
    await storage.write(l2, new Uint8Array(entry.buffer));
    await storage.write(79, Uint8Array.of(0));
    const before = await clusterAt(storage, target);
    const image = await Qcow2Image.open({ storage: new KeptStorage(storage) });
    const writing = image.write({ offset: 0, from: new Uint8Array(4096).fill(9) });
    await expect(writing).rejects.toSatisfy((error) => isQcow2Error(error, "corrupt"));
    await image.close();
    expect(Buffer.from(await clusterAt(storage, target)).equals(before)).toBe(true);
    expect(await isMarkedCorrupt(storage)).toBe(true);
  }
});

it("has nothing against an intact image, with every class", async () => {
  for (const shape of ENGINE_SHAPES) {
    const { files } = await shape.build();
    if (files.data !== undefined || files.backing !== undefined) continue;
    const storage = new KeptStorage(files.image);
    const image = await Qcow2Image.open({
      storage,
      overlapCheck: "all",
      l2CacheBytes: 1,
      refcountCacheBytes: 1,
    });
    await image.write({ offset: 0, from: new Uint8Array(shape.size).fill(3) });
    await image.discard({ offset: 0, length: shape.size });
    await image.flush();
    await image.write({ offset: 0, from: new Uint8Array(shape.size).fill(4) });
    await image.close();
    expect(await checkStorage(files.image), shape.name).toMatchObject({ corruptions: 0, leaks: 0 });
  }
});
