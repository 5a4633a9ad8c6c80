/** What guest requests cost in storage operations: the same cases for the suite that asserts them and for benchmarks. */
import { MemoryStorage, type Preallocation, Qcow2Image, RawDisk } from "@qcow2/core";
import { CountingStorage } from "../counting-storage.ts";
import { KeptStorage } from "../kept-storage.ts";

const KIB = 1024;
const MIB: number = 1024 * KIB;
const GIB: number = 1024 * MIB;

/** Clusters of all cases, in bytes; one L2 table of such an image maps 512 MiB. */
const CLUSTER: number = 64 * KIB;
const VIRTUAL_SIZE: number = 2 * GIB;

/** Operations that reached a storage, and their bytes. */
export interface StorageCost {
  readonly reads: number;
  readonly bytesRead: number;
  readonly writes: number;
  readonly bytesWritten: number;
  readonly flushes: number;
  readonly holes: number;
}

export interface StorageCostCase {
  /** For people: "4 KiB write in place". */
  readonly title: string;
  /** How the image is made. */
  readonly preallocation?: Preallocation;
  /** True for an overlay of a raw backing file of the same size, whose operations are counted apart. */
  readonly hasBacking?: boolean;
  /** What is given up goes back to the host; see the option of the same name. */
  readonly discard?: "unmap";
  /** Requests that come before what is counted, and are flushed. */
  prepare?(image: Qcow2Image): Promise<void>;
  /** What is counted. */
  request(image: Qcow2Image): Promise<void>;
}

export interface MeasuredStorageCost {
  /** Until the request has ended. */
  readonly request: StorageCost;
  /** A flush that follows it: the changed metadata, in its order. */
  readonly flush: StorageCost;
  /** Of the backing file, until the request has ended; undefined if there is none. */
  readonly backing: StorageCost | undefined;
}

const write = (image: Qcow2Image, offset: number, length: number): Promise<void> =>
  image.write({ offset, from: new Uint8Array(length).fill(0x5a) });

const read = (image: Qcow2Image, offset: number, length: number): Promise<void> =>
  image.read({ offset, into: new Uint8Array(length) });

/** After this the L2 table of the first 512 MiB exists and is in memory, as is the refcount block. */
const makeTables = (image: Qcow2Image): Promise<void> => write(image, 64 * CLUSTER, CLUSTER);

async function writeInPieces(image: Qcow2Image): Promise<void> {
  for (let index = 0; index < 16; index++) await write(image, index * CLUSTER, CLUSTER);
}

export type StorageCostName =
  | "alignedWriteToNewCluster"
  | "partialWriteToNewCluster"
  | "partialWriteOverBacking"
  | "writeInPlace"
  | "sequentialWrite"
  | "sequentialWriteInPieces"
  | "firstWrite"
  | "readCached"
  | "readUncached"
  | "readContiguous"
  | "zeroEmpty"
  | "zeroAllocated"
  | "discardAllocated"
  | "discardAndUnmap";

export const STORAGE_COST_CASES: Readonly<Record<StorageCostName, StorageCostCase>> = {
  alignedWriteToNewCluster: {
    title: "64 KiB aligned write to a new cluster",
    prepare: makeTables,
    request: (image) => write(image, 0, CLUSTER),
  },
  partialWriteToNewCluster: {
    title: "4 KiB write to a new cluster",
    prepare: makeTables,
    request: (image) => write(image, 16 * KIB, 4 * KIB),
  },
  partialWriteOverBacking: {
    title: "4 KiB write to a new cluster, over a backing file",
    hasBacking: true,
    prepare: makeTables,
    request: (image) => write(image, 16 * KIB, 4 * KIB),
  },
  writeInPlace: {
    title: "4 KiB write in place",
    prepare: (image) => write(image, 0, CLUSTER),
    request: (image) => write(image, 16 * KIB, 4 * KIB),
  },
  sequentialWrite: {
    title: "1 MiB write to new clusters",
    prepare: makeTables,
    request: (image) => write(image, 0, MIB),
  },
  sequentialWriteInPieces: {
    title: "1 MiB to new clusters as 16 writes of 64 KiB, one after the other",
    prepare: makeTables,
    request: writeInPieces,
  },
  firstWrite: {
    title: "64 KiB aligned write, the first one into an empty image",
    request: (image) => write(image, 0, CLUSTER),
  },
  readCached: {
    title: "4 KiB read, L2 table in memory",
    preallocation: "metadata",
    prepare: (image) => read(image, 0, 512),
    request: (image) => read(image, 16 * KIB, 4 * KIB),
  },
  readUncached: {
    title: "4 KiB read, L2 table not in memory",
    preallocation: "metadata",
    request: (image) => read(image, 16 * KIB, 4 * KIB),
  },
  readContiguous: {
    title: "1 MiB read of clusters that lie in order",
    preallocation: "metadata",
    prepare: (image) => read(image, 0, 512),
    request: (image) => read(image, 0, MIB),
  },
  zeroEmpty: {
    title: "write zeroes over 1 GiB that has no clusters",
    request: (image) => image.writeZeroes({ offset: 0, length: GIB }),
  },
  zeroAllocated: {
    title: "write zeroes over 1 GiB of allocated clusters",
    preallocation: "metadata",
    request: (image) => image.writeZeroes({ offset: 0, length: GIB }),
  },
  discardAllocated: {
    title: "discard of 1 GiB of allocated clusters",
    preallocation: "metadata",
    request: (image) => image.discard({ offset: 0, length: GIB }),
  },
  discardAndUnmap: {
    title: "discard of 1 GiB of allocated clusters, space given back to the host",
    preallocation: "metadata",
    discard: "unmap",
    request: (image) => image.discard({ offset: 0, length: GIB }),
  },
};

/** Makes the image in memory, prepares it, and counts the request and a flush behind it. */
export async function measureStorageCost(options: StorageCostCase): Promise<MeasuredStorageCost> {
  const storage = new CountingStorage(new KeptStorage(new MemoryStorage()));
  const backing = options.hasBacking === true ? new CountingStorage(new MemoryStorage()) : undefined;
  await backing?.write(0, new Uint8Array(MIB).fill(0xb5));
  await backing?.truncate(VIRTUAL_SIZE);
  await using image = await openCounted(storage, backing, options);
  if (options.prepare !== undefined) {
    await options.prepare(image);
    await image.flush();
  }
  storage.reset();
  backing?.reset();
  await options.request(image);
  const request = costOf(storage);
  const ofBacking = backing && costOf(backing);
  storage.reset();
  await image.flush();
  return { request, flush: costOf(storage), backing: ofBacking };
}

/** Opened anew after it was made: a new image may leave out flushes, others may not. */
async function openCounted(
  storage: CountingStorage,
  backing: CountingStorage | undefined,
  { preallocation, discard }: StorageCostCase,
): Promise<Qcow2Image> {
  const references = {
    openBackingFile: () => RawDisk.open({ storage: backing as CountingStorage, readOnly: true }),
    openDataFile: () => Promise.reject(new Error("no case has a data file")),
  };
  // Whatever closes the first image must leave the backing storage open for the second.
  const created = await Qcow2Image.create({
    storage,
    size: VIRTUAL_SIZE,
    clusterSize: CLUSTER,
    preallocation,
    references: {
      ...references,
      openBackingFile: () => RawDisk.open({ storage: new KeptStorage(backing as CountingStorage) }),
    },
    ...(backing === undefined ? {} : { backingFile: { name: "backing.raw", format: "raw" } }),
  });
  await created.close();
  return Qcow2Image.open({ storage, references, discard });
}

function costOf(storage: CountingStorage): StorageCost {
  return {
    reads: storage.count("read"),
    bytesRead: storage.bytesRead,
    writes: storage.count("write"),
    bytesWritten: storage.bytesWritten,
    flushes: storage.count("flush"),
    holes: storage.count("punchHole"),
  };
}
