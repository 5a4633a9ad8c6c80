/** Images in memory, of every shape that the write engine treats in a way of its own. */
import {
  type ImageOptions,
  MemoryStorage,
  type OpenOptions,
  Qcow2Image,
  RawDisk,
  type Storage,
} from "@qcow2/core";
import { content } from "../content.ts";
import { CopyingStorage } from "../copying-storage.ts";
import { DiskModel } from "../disk-model.ts";
import { KeptStorage } from "../kept-storage.ts";
import { ENGINE_CODECS } from "./engine-codecs.ts";
import { shareWithSnapshot } from "./share-with-snapshot.ts";

/** The files of an image, each in memory. */
export interface ShapeFiles {
  readonly image: MemoryStorage;
  /** The external data file. */
  readonly data: MemoryStorage | undefined;
  /** The backing file, raw. */
  readonly backing: MemoryStorage | undefined;
}

export interface BuiltShape {
  readonly files: ShapeFiles;
  /** What the guest reads. */
  readonly model: DiskModel;
}

export interface EngineShape {
  readonly name: string;
  /** Bytes of the virtual disk. */
  readonly size: number;
  /** Bytes. */
  readonly clusterSize: number;
  readonly version: 2 | 3;
  readonly hasBacking: boolean;
  readonly hasDataFile: boolean;
  /** The external data file is to read as the disk by itself. */
  readonly isDataFileRaw: boolean;
  /** A snapshot can be taken: there is none yet, and refcounts are wide enough for one. */
  readonly canShare: boolean;
  /** Makes the image anew, with content: nothing is shared between two calls. */
  build(): Promise<BuiltShape>;
  /** The same image as long as it is open for the first time; undefined where it is made with other means as well. */
  readonly create?: ((wrap: WrapStorage) => Promise<BuiltShape & { readonly image: Qcow2Image }>) | undefined;
}

/** Puts another storage around the image file or the data file. */
export type WrapStorage = (storage: Storage, role: "image" | "data") => Storage;

export interface OpenShapeOptions
  extends Omit<OpenOptions, "storage" | "references" | "l2CacheBytes" | "refcountCacheBytes"> {
  /** Bytes of each of the two table caches; 1 is the smallest that there is. */
  readonly cacheBytes?: number;
  readonly wrap?: WrapStorage;
}

/** Opens an image over its files, which survive closing it. */
export async function openShape(
  { image, data, backing }: ShapeFiles,
  options: OpenShapeOptions = {},
): Promise<Qcow2Image> {
  const { cacheBytes, wrap = (storage) => storage, codecs = ENGINE_CODECS, ...others } = options;
  return await Qcow2Image.open({
    ...others,
    storage: wrap(new KeptStorage(image), "image"),
    l2CacheBytes: cacheBytes,
    refcountCacheBytes: cacheBytes,
    codecs,
    references: {
      openBackingFile: async () =>
        await RawDisk.open({ storage: new KeptStorage(backing as MemoryStorage), readOnly: true }),
      openDataFile: async () => wrap(new KeptStorage(data as MemoryStorage), "data"),
    },
  });
}

/** Copies of all files, for going on from one state in more than one way. */
export async function copyFiles(files: ShapeFiles): Promise<ShapeFiles> {
  return {
    image: copyOf(files.image),
    data: files.data && copyOf(files.data),
    backing: files.backing && copyOf(files.backing),
  };
}

function copyOf(storage: MemoryStorage): MemoryStorage {
  return new CopyingStorage({ hostCopies: "all", name: storage.name, bytes: storage.toBytes() });
}

interface ShapeOptions extends ImageOptions {
  readonly name: string;
  /** Guest clusters; a fraction ends the disk within a cluster. Default 40.5. */
  readonly clusters?: number;
  /** Bytes of a raw backing file with content. */
  readonly backingBytes?: number;
  readonly dataFile?: "plain" | "raw";
  /** A second reference to everything that was written, as an internal snapshot has it. */
  readonly snapshot?: boolean;
  /** Default true: some clusters of each kind. */
  readonly filled?: boolean;
  /** Data is written from the start of the disk on until the image file has so many clusters. */
  readonly fileClusters?: number;
}

function shape(options: ShapeOptions): EngineShape {
  const {
    name,
    clusters = 40.5,
    backingBytes,
    dataFile,
    snapshot = false,
    filled = true,
    fileClusters,
    ...image
  } = options;
  const clusterSize = image.clusterSize ?? 65536;
  const size = Math.floor((clusters * clusterSize) / 512) * 512;
  const create = async (wrap: WrapStorage): Promise<BuiltShape & { readonly image: Qcow2Image }> => {
    const files: ShapeFiles = {
      image: new CopyingStorage({ hostCopies: "all", name: "image" }),
      data: dataFile && new CopyingStorage({ hostCopies: "all", name: "data" }),
      backing: backingBytes === undefined ? undefined : await backingFile(backingBytes),
    };
    const disk = await Qcow2Image.create({
      ...image,
      storage: wrap(new KeptStorage(files.image), "image"),
      size,
      codecs: ENGINE_CODECS,
      ...(files.data && {
        dataFile: {
          name: "data",
          storage: wrap(new KeptStorage(files.data), "data"),
          raw: dataFile === "raw",
        },
      }),
      ...(files.backing && { backingFile: { name: "backing", format: "raw" } }),
      references: {
        openBackingFile: async () =>
          await RawDisk.open({ storage: new KeptStorage(files.backing as MemoryStorage) }),
        openDataFile: async () => new KeptStorage(files.data as MemoryStorage),
      },
    });
    const model = new DiskModel(size);
    if (files.backing !== undefined) {
      await model.write(0, files.backing.toBytes().subarray(0, size));
    }
    if (filled) await fill(disk, model, { clusterSize, hasDataFile: dataFile !== undefined });
    if (fileClusters !== undefined) await fillFile(disk, model, files.image, fileClusters * clusterSize);
    return { files, model, image: disk };
  };
  const build = async (): Promise<BuiltShape> => {
    const { files, model, image: disk } = await create((storage) => storage);
    await disk.close();
    if (snapshot) await shareWithSnapshot(files.image);
    return { files, model };
  };
  return {
    name,
    size,
    clusterSize,
    version: image.version ?? 3,
    hasBacking: backingBytes !== undefined,
    hasDataFile: dataFile !== undefined,
    isDataFileRaw: dataFile === "raw",
    canShare: dataFile === undefined && !snapshot && (image.refcountBits ?? 16) >= 4,
    build,
    create: snapshot ? undefined : create,
  };
}

async function backingFile(length: number): Promise<MemoryStorage> {
  const bytes = content({ kind: "stamps", seed: 77, length });
  return new MemoryStorage({ name: "backing", bytes });
}

/** Data, part of a cluster, zeroes with and without a cluster behind them, and compressed clusters; gaps between. */
async function fill(
  disk: Qcow2Image,
  model: DiskModel,
  { clusterSize, hasDataFile }: { readonly clusterSize: number; readonly hasDataFile: boolean },
): Promise<void> {
  const at = (clusters: number): number => Math.floor(clusters * clusterSize);
  const bytes = (offset: number, length: number): Uint8Array =>
    content({ kind: "stamps", seed: 5, offset, length });
  for (const [first, count] of [
    [0, 3],
    [4.5, 1],
    [8, 4],
    [20, 0.25],
    [33, 7],
  ] as const) {
    const [offset, from] = [at(first), bytes(at(first), at(count))];
    await disk.write({ offset, from });
    await model.write(offset, from);
  }
  for (const [first, count, unmap] of [
    [1, 1, false],
    [9, 1, true],
    [10.5, 1, false],
  ] as const) {
    await disk.writeZeroes({ offset: at(first), length: at(count), unmap });
    await model.writeZeroes(at(first), at(count));
  }
  if (hasDataFile) return;
  for (const cluster of [13, 14, 15, 25]) {
    const from = content({ kind: "text", seed: cluster, offset: at(cluster), length: clusterSize });
    await disk.writeCompressed({ offset: at(cluster), from });
    await model.write(at(cluster), from);
  }
}

/** Writes a few clusters at a time until the image file has at least `fileBytes`. */
async function fillFile(
  disk: Qcow2Image,
  model: DiskModel,
  file: MemoryStorage,
  fileBytes: number,
): Promise<void> {
  const length = 4 * disk.info().clusterSize;
  for (let offset = 0; (await file.size()) < fileBytes; offset += length) {
    const from = content({ kind: "stamps", seed: 9, offset, length });
    await disk.write({ offset, from });
    await model.write(offset, from);
  }
}

/** Every shape, small enough that a suite can go through each of its states. */
export const ENGINE_SHAPES: readonly EngineShape[] = [
  shape({ name: "empty, clusters of 512 bytes", clusterSize: 512, clusters: 300, filled: false }),
  shape({ name: "clusters of 512 bytes", clusterSize: 512, clusters: 200 }),
  shape({ name: "clusters of 4 KiB", clusterSize: 4096 }),
  shape({ name: "clusters of 64 KiB", clusterSize: 65536 }),
  shape({ name: "version 2", clusterSize: 4096, version: 2 }),
  shape({ name: "refcounts of 1 bit", clusterSize: 512, refcountBits: 1 }),
  shape({ name: "refcounts of 2 bits", clusterSize: 1024, refcountBits: 2 }),
  shape({
    name: "refcounts of 4 bits, shared with a snapshot",
    clusterSize: 1024,
    refcountBits: 4,
    snapshot: true,
  }),
  shape({ name: "refcounts of 64 bits", clusterSize: 512, refcountBits: 64 }),
  shape({
    name: "refcount block about to be added",
    clusterSize: 512,
    refcountBits: 64,
    clusters: 300,
    filled: false,
    fileClusters: 58,
  }),
  // 64 refcounts in a block and 64 blocks in a table of one cluster. All that is written goes to new clusters, because a
  // snapshot shares the old ones: the next few make the table grow.
  shape({
    name: "refcount table about to grow",
    clusterSize: 512,
    refcountBits: 64,
    clusters: 3960,
    filled: false,
    fileClusters: 4084,
    snapshot: true,
  }),
  shape({ name: "subclusters", clusterSize: 16384, extendedL2: true }),
  shape({
    name: "subclusters over a backing file",
    clusterSize: 16384,
    extendedL2: true,
    backingBytes: 16384 * 30 + 700,
  }),
  // Writes of more than a MiB, at which edges are not joined with the data any more.
  shape({
    name: "clusters of 64 KiB over a backing file",
    clusterSize: 65536,
    clusters: 26.5,
    backingBytes: 65536 * 25 + 900,
    filled: false,
  }),
  shape({ name: "over a backing file", clusterSize: 4096, backingBytes: 4096 * 50 }),
  shape({ name: "over a shorter backing file", clusterSize: 4096, backingBytes: 4096 * 17 + 100 }),
  shape({ name: "version 2 over a backing file", clusterSize: 4096, version: 2, backingBytes: 4096 * 20 }),
  shape({ name: "shared with a snapshot", clusterSize: 4096, snapshot: true }),
  shape({
    name: "shared with a snapshot, clusters of 512 bytes",
    clusterSize: 512,
    clusters: 150,
    snapshot: true,
  }),
  shape({ name: "external data file", clusterSize: 4096, dataFile: "plain" }),
  shape({ name: "raw external data file", clusterSize: 4096, dataFile: "raw" }),
  shape({ name: "metadata preallocated", clusterSize: 4096, preallocation: "metadata" }),
  shape({ name: "lazy refcounts", clusterSize: 4096, lazyRefcounts: true }),
];

/** The shape of that name. */
export function shapeNamed(name: string): EngineShape {
  const found = ENGINE_SHAPES.find((shape) => shape.name === name);
  if (found === undefined) throw new RangeError(`no shape is called '${name}'`);
  return found;
}
