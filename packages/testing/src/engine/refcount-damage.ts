/**
 * One wrong refcount, or one wrong entry of the refcount table, and then one change of the image: whatever could be read
 * before, by the guest or of a snapshot, can be read afterwards; and a change that is refused leaves the file as it was.
 */
import { isQcow2Error, MemoryStorage, Qcow2Image } from "@qcow2/core";
import { content } from "../content.ts";
import { KeptStorage } from "../kept-storage.ts";
import { ENGINE_CODECS } from "./engine-codecs.ts";
import { openShape, type ShapeFiles } from "./engine-shapes.ts";

const CLUSTER = 4096;
const SIZE: number = 40 * CLUSTER;
const OFFSET_MASK = 0x00fffffffffffe00n;
/** Byte positions in the header. */
const REFCOUNT_TABLE_AT = 48;

/** What an image holds, as somebody who only reads sees it. */
interface Content {
  readonly disk: Buffer;
  readonly snapshots: ReadonlyMap<string, Buffer>;
}

export interface RefcountDamage {
  readonly name: string;
  readonly apply: (storage: MemoryStorage) => Promise<void>;
}

export interface DamagedChange {
  readonly name: string;
  readonly discard: "ignore" | "unmap";
  readonly run: (image: Qcow2Image) => Promise<void>;
  /** What the image has to hold if the change is done. */
  readonly after: (before: Content) => Content;
  /** A transaction that is refused leaves every byte of the file as it was. */
  readonly isTransaction: boolean;
}

/** An image with two snapshots and a bitmap that follows the disk; the last clusters of its file hold guest data. */
export async function imageToDamage(): Promise<MemoryStorage> {
  const storage = new MemoryStorage();
  const image = await Qcow2Image.create({
    storage: new KeptStorage(storage),
    size: SIZE,
    clusterSize: CLUSTER,
    codecs: ENGINE_CODECS,
  });
  await image.write({ offset: 0, from: content({ kind: "random", length: 12 * CLUSTER, seed: 1 }) });
  await image.createSnapshot({ name: "first" });
  await image.write({ offset: 4 * CLUSTER, from: content({ kind: "random", length: 4 * CLUSTER, seed: 2 }) });
  await image.createSnapshot({ name: "second" });
  await image.changeBitmaps([{ kind: "add", name: "followed", granularity: 512 }]);
  await image.write({ offset: 6 * CLUSTER, from: content({ kind: "random", length: 3 * CLUSTER, seed: 3 }) });
  await image.write({
    offset: 20 * CLUSTER,
    from: content({ kind: "random", length: 6 * CLUSTER, seed: 4 }),
  });
  await image.close();
  return storage;
}

/** Every bit of the refcount table's entry that can lead elsewhere, and refcounts that are too low by one. */
export async function refcountDamages(): Promise<RefcountDamage[]> {
  const damages: RefcountDamage[] = [];
  for (const bit of [9, 12, 13, 14, 15, 16, 17, 18, 19, 20, 30, 47, 55, 62]) {
    damages.push({
      name: `bit ${bit} of the refcount table's entry`,
      apply: async (storage) => {
        const at = await wordAt(storage, REFCOUNT_TABLE_AT);
        const entry = await rawWordAt(storage, at);
        await writeWord(storage, at, entry ^ (1n << BigInt(bit)));
      },
    });
  }
  damages.push({
    name: "no refcount block",
    apply: async (storage) => writeWord(storage, await wordAt(storage, REFCOUNT_TABLE_AT), 0n),
  });
  const clusters = Math.ceil((await (await imageToDamage()).size()) / CLUSTER);
  for (let cluster = 0; cluster < clusters; cluster++) {
    damages.push({
      name: `a refcount of cluster ${cluster} that is lower by one`,
      apply: (storage) => lower(storage, cluster, 1),
    });
  }
  damages.push({
    name: "refcounts of 0 for the last five clusters",
    apply: async (storage) => {
      for (let cluster = clusters - 5; cluster < clusters; cluster++) await lower(storage, cluster, 9);
    },
  });
  return damages;
}

function change(
  name: string,
  run: DamagedChange["run"],
  after: (disk: Buffer) => Buffer = (disk) => disk,
  discard: DamagedChange["discard"] = "ignore",
): DamagedChange {
  return {
    name,
    run,
    discard,
    isTransaction: false,
    after: ({ disk, snapshots }) => ({ disk: after(Buffer.from(disk)), snapshots }),
  };
}

function transaction(
  name: string,
  run: DamagedChange["run"],
  after: (before: Content) => Content = (before) => before,
): DamagedChange {
  return { name, run, after, discard: "unmap", isTransaction: true };
}

export const CHANGES_OF_DAMAGED: readonly DamagedChange[] = [
  change(
    "a write to new clusters",
    (image) => image.write({ offset: 30 * CLUSTER, from: new Uint8Array(2 * CLUSTER).fill(7) }),
    (disk) => disk.fill(7, 30 * CLUSTER, 32 * CLUSTER),
  ),
  change(
    "a write over shared clusters, with space given back",
    (image) => image.write({ offset: 100, from: new Uint8Array(3 * CLUSTER).fill(7) }),
    (disk) => disk.fill(7, 100, 100 + 3 * CLUSTER),
    "unmap",
  ),
  change(
    "a compressed write",
    (image) => image.writeCompressed({ offset: 21 * CLUSTER, from: new Uint8Array(CLUSTER).fill(7) }),
    (disk) => disk.fill(7, 21 * CLUSTER, 22 * CLUSTER),
    "unmap",
  ),
  change(
    "a discard",
    (image) => image.discard({ offset: 0, length: CLUSTER }),
    (disk) => disk.fill(0, 0, CLUSTER),
    "unmap",
  ),
  change(
    "a discard, and writes to what it freed",
    async (image) => {
      await image.discard({ offset: 20 * CLUSTER, length: 2 * CLUSTER });
      await image.flush();
      await image.write({ offset: 30 * CLUSTER, from: new Uint8Array(6 * CLUSTER).fill(7) });
    },
    (disk) => disk.fill(0, 20 * CLUSTER, 22 * CLUSTER).fill(7, 30 * CLUSTER, 36 * CLUSTER),
    "unmap",
  ),
  change(
    "zeroes that give up clusters",
    (image) => image.writeZeroes({ offset: 7 * CLUSTER, length: 2 * CLUSTER, unmap: true }),
    (disk) => disk.fill(0, 7 * CLUSTER, 9 * CLUSTER),
    "unmap",
  ),
  transaction(
    "a larger disk",
    (image) => image.resize({ size: SIZE + 600 * CLUSTER }),
    ({ disk, snapshots }) => ({ disk: Buffer.concat([disk, Buffer.alloc(600 * CLUSTER)]), snapshots }),
  ),
  transaction(
    "a smaller disk",
    (image) => image.resize({ size: 22 * CLUSTER, shrink: true }),
    ({ disk, snapshots }) => ({ disk: disk.subarray(0, 22 * CLUSTER), snapshots }),
  ),
  transaction("lazy refcounts", (image) => image.amend({ lazyRefcounts: true })),
  transaction("wider refcounts", (image) => image.amend({ refcountBits: 32 })),
  transaction("the step down to version 2", (image) => image.amend({ version: 2, dropBitmaps: true })),
  transaction(
    "a new snapshot",
    async (image) => {
      await image.createSnapshot({ name: "third" });
    },
    ({ disk, snapshots }) => ({ disk, snapshots: new Map([...snapshots, ["third", disk]]) }),
  ),
  transaction(
    "a snapshot that is deleted",
    (image) => image.deleteSnapshot({ name: "first" }),
    ({ disk, snapshots }) => ({
      disk,
      snapshots: new Map([...snapshots].filter(([name]) => name !== "first")),
    }),
  ),
  transaction(
    "a snapshot that is applied",
    async (image) => {
      await image.changeBitmaps([{ kind: "remove", name: "followed" }]);
      await image.applySnapshot({ name: "first" });
    },
    ({ snapshots }) => ({ disk: snapshots.get("first") as Buffer, snapshots }),
  ),
  transaction("a new bitmap", (image) => image.changeBitmaps([{ kind: "add", name: "new" }])),
  transaction("a bitmap that is removed", (image) =>
    image.changeBitmaps([{ kind: "remove", name: "followed" }]),
  ),
  transaction(
    "an emptied disk",
    (image) => image.makeEmpty(),
    ({ disk, snapshots }) => ({ disk: Buffer.alloc(disk.length), snapshots }),
  ),
];

/** Damages a copy of `image`, runs the change and throws if anything was lost. Returns whether it was done. */
export async function checkDamagedChange(
  image: MemoryStorage,
  damage: RefcountDamage,
  { run, after, discard, isTransaction }: DamagedChange,
): Promise<"done" | "refused"> {
  const storage = new MemoryStorage({ bytes: image.toBytes() });
  await damage.apply(storage);
  const files: ShapeFiles = { image: storage, data: undefined, backing: undefined };
  const before = await contentOf(files);
  const bytesBefore = storage.toBytes();
  let failure: unknown;
  const open = await openShape(files, { discard });
  await run(open).catch((error: unknown) => {
    failure = error;
  });
  await open.close().catch((error: unknown) => {
    failure ??= error;
  });
  if (failure !== undefined && !isQcow2Error(failure)) throw failure;
  const now = await contentOf(files);
  const expected = after(before);
  if (failure === undefined) {
    assertSame(now, expected, false);
    return "done";
  }
  if (
    isTransaction &&
    isQcow2Error(failure, "needs-repair") &&
    Buffer.compare(storage.toBytes(), bytesBefore) !== 0
  ) {
    throw new Error("it was not left as it was");
  }
  // Of a change of guest data, some of it may be done.
  assertSame(now, before, !isTransaction, expected);
  return "refused";
}

async function contentOf(files: ShapeFiles): Promise<Content> {
  const image = await openShape(files, { readOnly: true });
  const snapshots = new Map<string, Buffer>();
  for (const { id, name } of image.info().snapshots) {
    const snapshot = await openShape(files, { readOnly: true, snapshot: id });
    snapshots.set(name, await readAll(snapshot));
    await snapshot.close();
  }
  const disk = await readAll(image);
  await image.close();
  return { disk, snapshots };
}

async function readAll(image: Qcow2Image): Promise<Buffer> {
  const into = Buffer.alloc(image.size);
  await image.read({ offset: 0, into });
  return into;
}

/** With `other`, each byte of the disk may be as it says instead. */
function assertSame(actual: Content, expected: Content, isMixed: boolean, other: Content = expected): void {
  if (actual.disk.length !== expected.disk.length) {
    throw new Error(`a disk of ${actual.disk.length} bytes, not ${expected.disk.length}`);
  }
  for (let at = 0; at < expected.disk.length && !actual.disk.equals(expected.disk); at++) {
    if (actual.disk[at] === expected.disk[at] || (isMixed && actual.disk[at] === other.disk[at])) continue;
    throw new Error(`guest byte ${at} is ${actual.disk[at]}, not ${expected.disk[at]}`);
  }
  if (actual.snapshots.size !== expected.snapshots.size) {
    throw new Error(`${actual.snapshots.size} snapshots, not ${expected.snapshots.size}`);
  }
  for (const [name, disk] of expected.snapshots) {
    if (actual.snapshots.get(name)?.equals(disk) !== true)
      throw new Error(`snapshot '${name}' reads differently`);
  }
}

async function rawWordAt(storage: MemoryStorage, offset: number): Promise<bigint> {
  const bytes = new Uint8Array(8);
  await storage.read(offset, bytes);
  return new DataView(bytes.buffer).getBigUint64(0);
}

async function wordAt(storage: MemoryStorage, offset: number): Promise<number> {
  return Number((await rawWordAt(storage, offset)) & OFFSET_MASK);
}

async function writeWord(storage: MemoryStorage, offset: number, value: bigint): Promise<void> {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, value);
  await storage.write(offset, bytes);
}

async function lower(storage: MemoryStorage, cluster: number, by: number): Promise<void> {
  const at = (await wordAt(storage, await wordAt(storage, REFCOUNT_TABLE_AT))) + cluster * 2;
  const bytes = new Uint8Array(2);
  await storage.read(at, bytes);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, Math.max(0, view.getUint16(0) - by));
  await storage.write(at, bytes);
}
