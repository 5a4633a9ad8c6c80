/** Opening: from a storage to everything that reading and writing need. */
import type { ClusterCodec, Codecs } from "../codec/codec.ts";
import type { Disk } from "../disk/disk.ts";
import { Qcow2Error } from "../errors.ts";
import type { BitmapDirectoryEntry } from "../format/bitmap-directory.ts";
import { AUTOCLEAR_DATA_FILE_RAW, INCOMPATIBLE_CORRUPT, INCOMPATIBLE_DIRTY } from "../format/feature-bits.ts";
import { l1EntriesFor } from "../format/geometry.ts";
import { L1_ENTRY_BYTES } from "../format/l1-entry.ts";
import type { SnapshotEntry } from "../format/snapshot-table.ts";
import { DEFAULT_L2_CACHE_BYTES, DEFAULT_REFCOUNT_CACHE_BYTES, MAX_L1_BYTES } from "../limits.ts";
import { denyReferences, type References } from "../references/references.ts";
import { readExactly } from "../storage/read-exactly.ts";
import type { Storage } from "../storage/storage.ts";
import { unopenedStorage } from "../storage/unopened-storage.ts";
import { GuestReader } from "./guest-reader.ts";
import { checkTable, type ImageLayout, readImageLayout } from "./image-layout.ts";
import { overlapClasses as classesOf, type MetadataClass, type OverlapCheck } from "./overlap-classes.ts";
import { readBitmapDirectory } from "./read-bitmap-directory.ts";
import { readSnapshotTable } from "./read-snapshot-table.ts";
import { RefcountStore } from "./refcount-store.ts";
import { ResidentTable } from "./resident-table.ts";
import { type GuestMapping, sliceBytesOf } from "./resolve.ts";
import { findSnapshot, type SnapshotReference } from "./snapshots/find-snapshot.ts";
import { TableCache } from "./table-cache.ts";

export interface OpenOptions {
  readonly storage: Storage;
  /** Default: as the storage is. */
  readonly readOnly?: boolean | undefined;
  /** Default {@link denyReferences}: an image that needs a second file is refused. */
  readonly references?: References | undefined;
  /**
   * Instead of the backing file that the image names, or although it names none: no backing disk at all, or the one that
   * this opens, which belongs to the image from then on. Not called with `metadataOnly`.
   */
  readonly backing?: "none" | (() => Promise<Disk>) | undefined;
  readonly codecs?: Codecs | undefined;
  /**
   * Open only what `info` and `check` need: no other file is opened, and guest data cannot be read. Read-only, unless
   * `readOnly` is given as false: then what does not need guest data can be changed.
   */
  readonly metadataOnly?: boolean | undefined;
  /** Read an internal snapshot, by id or else by name, instead of the active disk; implies read-only. */
  readonly snapshot?: SnapshotReference | undefined;
  /** Bytes of memory for L2 tables and for refcount blocks; defaults in `limits.ts`. */
  readonly l2CacheBytes?: number | undefined;
  readonly refcountCacheBytes?: number | undefined;
  /**
   * "crash-safe" (default) orders writes so that a power cut at any point leaves an intact image. "on-close" orders
   * nothing until the first `flush`, or `close`: for new images that do not count until they are complete. From the first
   * flush on it is the same as "crash-safe".
   */
  readonly durability?: "crash-safe" | "on-close" | undefined;
  /**
   * What becomes of host clusters that are given up: "ignore" (default) keeps their space in the file for new data;
   * "unmap" gives it back to the host, by punching holes where the storage can do that, and by cutting off the file
   * behind the last cluster in use on closing.
   */
  readonly discard?: "ignore" | "unmap" | undefined;
  /**
   * Rebuild the refcounts of a dirty image when it is opened for writing, as QEMU does: somebody who postpones them
   * ("lazy refcounts") did not close it. Default true; otherwise, and if the image has other damage, it is refused.
   */
  readonly repair?: boolean | undefined;
  /** The kinds of metadata that every write to the image file is held against. Default "cached", as in QEMU. */
  readonly overlapCheck?: OverlapCheck | undefined;
}

/** Bytes of memory. */
interface CacheBytes {
  readonly l2: number;
  readonly refcounts: number;
}

/** Shared by all states of an open image. */
interface Durability {
  /** True if writes reach the disk in an order that leaves an intact image wherever a power cut falls. */
  isOrdered: boolean;
}

/** An open image; what the public class and the engine's parts share. */
export interface OpenImage {
  readonly storage: Storage;
  readonly layout: ImageLayout;
  readonly readOnly: boolean;
  readonly metadataOnly: boolean;
  readonly durability: Durability;
  readonly discard: "ignore" | "unmap";
  readonly overlapClasses: ReadonlySet<MetadataClass>;
  readonly cacheBytes: CacheBytes;
  readonly references: References;
  /** Virtual size of what is read: of the active disk, or of the snapshot. */
  readonly size: number;
  readonly snapshots: readonly SnapshotEntry[];
  /** Bytes of the snapshot table, up to the end of its last entry. */
  readonly snapshotTableBytes: number;
  readonly bitmaps: readonly BitmapDirectoryEntry[];
  /** For each bitmap an object that stays the same, also when the image is read again, until other bits are stored for it. */
  readonly bitmapContents: readonly object[];
  readonly backing: Disk | undefined;
  /** Where guest clusters are: the image file itself or the external data file, which may not have been opened. */
  readonly dataStorage: Storage;
  readonly mapping: GuestMapping;
  readonly refcounts: RefcountStore;
  readonly codec: ClusterCodec | undefined;
  readonly reader: GuestReader;
}

/** Makes the refcounts of a dirty image true again. */
export type RepairDirty = (storage: Storage, layout: ImageLayout) => Promise<void>;

/**
 * Opens the image; on failure everything that was opened on the way is closed, except `options.storage`. `repairDirty`
 * is needed for writing only, and passed in because it brings the whole check along.
 */
export async function openImage(options: OpenOptions, repairDirty?: RepairDirty): Promise<OpenImage> {
  const { storage } = options;
  const overlapClasses = classesOf(options.overlapCheck);
  const metadataOnly = options.metadataOnly ?? false;
  const readOnly = (options.readOnly ?? metadataOnly) || storage.readOnly || options.snapshot !== undefined;
  const layout = await readLayout(storage, !readOnly && (options.repair ?? true) ? repairDirty : undefined);
  if (!readOnly) assertWritable(layout);
  if (!metadataOnly) assertNotEncrypted(layout);
  const cacheBytes = {
    l2: options.l2CacheBytes ?? DEFAULT_L2_CACHE_BYTES,
    refcounts: options.refcountCacheBytes ?? DEFAULT_REFCOUNT_CACHE_BYTES,
  };
  const tables = await loadTables(storage, layout, cacheBytes, options.snapshot);
  const references = options.references ?? denyReferences();
  const dataStorage = await openDataStorage(layout, { storage, references, readOnly, metadataOnly });
  try {
    const backing = metadataOnly ? undefined : await openBacking(layout, { ...options, references });
    const codec = options.codecs?.[layout.compressionType];
    const { mapping } = tables;
    return {
      storage,
      layout,
      readOnly,
      metadataOnly,
      durability: { isOrdered: options.durability !== "on-close" },
      discard: options.discard ?? "ignore",
      overlapClasses,
      cacheBytes,
      references,
      ...tables,
      bitmapContents: tables.bitmaps.map(() => ({})),
      backing,
      dataStorage,
      codec,
      reader: createReader({ storage, layout, mapping, dataStorage, backing, codec }),
    };
  } catch (error) {
    if (dataStorage !== storage) await dataStorage.close();
    throw error;
  }
}

/** The image as its header says now, after its tables were replaced; the files that it consists of stay open. */
export async function reloadImage(image: OpenImage): Promise<OpenImage> {
  const layout = await readImageLayout(image.storage);
  const tables = await loadTables(image.storage, layout, image.cacheBytes);
  const bitmapContents = tables.bitmaps.map((entry) => contentBefore(image, entry) ?? {});
  const reloaded = { ...image, layout, ...tables, bitmapContents };
  return { ...reloaded, reader: createReader(reloaded) };
}

/** What stands for a bitmap's bits, if a single change of the metadata left them: new bits are stored in a new table. */
function contentBefore(
  { bitmaps, bitmapContents }: OpenImage,
  { tableOffset, tableSize, granularityBits, nameBytes }: BitmapDirectoryEntry,
): object | undefined {
  const index = bitmaps.findIndex(
    (before) =>
      before.tableOffset === tableOffset &&
      before.tableSize === tableSize &&
      before.granularityBits === granularityBits &&
      String(before.nameBytes) === String(nameBytes),
  );
  return bitmapContents[index];
}

/** Closes what {@link openImage} opened, and the storage: all of it, also where closing one of them fails. */
export async function closeImage(image: OpenImage): Promise<void> {
  try {
    await image.backing?.close();
  } finally {
    try {
      if (image.dataStorage !== image.storage) await image.dataStorage.close();
    } finally {
      await image.storage.close();
    }
  }
}

/**
 * True if another disk shows where the image defines nothing: the one that is open, whatever the header says, or one that
 * the header names for whoever opens the image next.
 */
export function hasBacking({ backing, layout }: OpenImage): boolean {
  return backing !== undefined || layout.backingFile !== undefined;
}

/** True if the data file is to stay readable as a raw image on its own. */
export function isDataFileRaw(layout: ImageLayout): boolean {
  return layout.hasDataFile && (layout.header.autoclearFeatures & AUTOCLEAR_DATA_FILE_RAW) !== 0n;
}

/** What the image file says besides the header. */
async function loadTables(
  storage: Storage,
  layout: ImageLayout,
  cacheBytes: CacheBytes,
  wanted?: SnapshotReference,
): Promise<
  Pick<OpenImage, "snapshots" | "snapshotTableBytes" | "bitmaps" | "mapping" | "refcounts" | "size">
> {
  const { entries: snapshots, byteLength: snapshotTableBytes } = await readSnapshotTable(
    storage,
    layout.snapshotsOffset,
    layout.header.snapshotCount,
  );
  const bitmaps =
    layout.bitmaps === undefined
      ? []
      : await readBitmapDirectory(storage, layout.bitmaps, {
          clusterSize: layout.geometry.clusterSize,
          virtualSize: layout.virtualSize,
        });
  const snapshot = wanted === undefined ? undefined : findSnapshot(snapshots, wanted);
  const mapping = await loadMapping(storage, layout, snapshot, cacheBytes.l2);
  const refcounts = await RefcountStore.load({
    storage,
    geometry: layout.geometry,
    location: layout.refcountTable,
    cacheBytes: cacheBytes.refcounts,
  });
  const size = snapshot?.diskSize === undefined ? layout.virtualSize : Number(snapshot.diskSize);
  return { snapshots, snapshotTableBytes, bitmaps, mapping, refcounts, size };
}

function createReader({
  storage,
  layout: { compressionType },
  mapping,
  dataStorage,
  backing,
  codec,
}: Pick<OpenImage, "storage" | "layout" | "mapping" | "dataStorage" | "backing" | "codec">): GuestReader {
  return new GuestReader({ mapping, storage, dataStorage, backing, codec, compressionType });
}

/** Reads the layout; with `repairDirty`, a dirty image that is not marked as corrupt is repaired first. */
async function readLayout(storage: Storage, repairDirty: RepairDirty | undefined): Promise<ImageLayout> {
  const layout = await readImageLayout(storage);
  const state = layout.header.incompatibleFeatures & (INCOMPATIBLE_DIRTY | INCOMPATIBLE_CORRUPT);
  if (repairDirty === undefined || state !== INCOMPATIBLE_DIRTY) return layout;
  await repairDirty(storage, layout);
  return await readImageLayout(storage);
}

function assertWritable({ header }: ImageLayout): void {
  const isCorrupt = (header.incompatibleFeatures & INCOMPATIBLE_CORRUPT) !== 0n;
  if (!isCorrupt && (header.incompatibleFeatures & INCOMPATIBLE_DIRTY) === 0n) return;
  const state = isCorrupt ? "corrupt" : "dirty";
  throw new Qcow2Error(
    "needs-repair",
    `Image is ${state}; cannot be opened read/write before it is repaired`,
    { state },
  );
}

function assertNotEncrypted({ header }: ImageLayout): void {
  if (header.cryptMethod === 0) return;
  const method = header.cryptMethod === 1 ? "AES" : "LUKS";
  throw new Qcow2Error(
    "encrypted",
    `The image is encrypted (${method}), and this version cannot decrypt it`,
    { method },
  );
}

async function loadMapping(
  storage: Storage,
  layout: ImageLayout,
  snapshot: SnapshotEntry | undefined,
  cacheBytes: number,
): Promise<GuestMapping> {
  const { geometry } = layout;
  const location = snapshot === undefined ? layout.l1Table : await snapshotL1Table(storage, layout, snapshot);
  const l1 = new Uint8Array(location.length);
  await readExactly(storage, location.offset, l1, "L1 table");
  return {
    geometry,
    version: layout.header.version,
    name: storage.name,
    hasDataFile: layout.hasDataFile,
    l1: new ResidentTable(l1, location.offset),
    l2Slices: new TableCache({
      storage,
      structure: "L2 table",
      tableBytes: sliceBytesOf(geometry),
      capacityBytes: cacheBytes,
    }),
  };
}

async function snapshotL1Table(
  storage: Storage,
  layout: ImageLayout,
  snapshot: SnapshotEntry,
): Promise<{ offset: number; length: number }> {
  const table = { offset: Number(snapshot.l1TableOffset), length: snapshot.l1Size * L1_ENTRY_BYTES };
  if (table.length > MAX_L1_BYTES) {
    throw new Qcow2Error("limit-exceeded", `Snapshot L1 table too large: ${table.length} bytes`, {
      what: "L1 table bytes",
      found: table.length,
      maximum: MAX_L1_BYTES,
    });
  }
  const size = snapshot.diskSize === undefined ? 0 : Number(snapshot.diskSize);
  if (!Number.isSafeInteger(size) || snapshot.l1Size < l1EntriesFor(layout.geometry, size)) {
    throw new Qcow2Error("invalid-image", "Snapshot L1 table is too small for its disk", {
      structure: "snapshot table",
      found: snapshot.l1Size,
    });
  }
  if (table.length > 0) {
    checkTable("Snapshot L1 table", table, layout.geometry.clusterSize, await storage.size());
  }
  return table;
}

async function openDataStorage(
  layout: ImageLayout,
  {
    storage,
    references,
    readOnly,
    metadataOnly,
  }: Pick<OpenImage, "storage" | "references" | "readOnly" | "metadataOnly">,
): Promise<Storage> {
  if (!layout.hasDataFile) return storage;
  if (metadataOnly) return unopenedStorage("the external data file");
  if (layout.dataFile === undefined) {
    throw new Qcow2Error("invalid-image", "The image needs an external data file but does not name it", {
      structure: "data file extension",
    });
  }
  const dataStorage = await references.openDataFile({ name: layout.dataFile, from: storage.name, readOnly });
  if (dataStorage !== storage) return dataStorage;
  // Guest data would be written over the tables.
  throw new Qcow2Error("invalid-image", "The image names itself as its external data file", {
    structure: "data file extension",
  });
}

async function openBacking(
  layout: ImageLayout,
  {
    storage,
    references,
    backing,
  }: Pick<OpenOptions, "storage" | "backing"> & {
    readonly references: References;
  },
): Promise<Disk | undefined> {
  if (backing === "none") return undefined;
  if (backing !== undefined) return await backing();
  if (layout.backingFile === undefined) return undefined;
  try {
    return await references.openBackingFile({
      name: layout.backingFile,
      format: layout.backingFormat,
      from: storage.name,
    });
  } catch (error) {
    if (!(error instanceof Qcow2Error)) throw error;
    throw new Qcow2Error(error.code, `Could not open backing file: ${error.message}`, error.data, {
      cause: error,
    });
  }
}
