/** Finds out what each host cluster is used for, from the tables alone: see `ClusterUses`. */
import { isQcow2Error, Qcow2Error } from "../../errors.ts";
import { type BitmapDirectoryEntry, decodeBitmapDirectory } from "../../format/bitmap-directory.ts";
import { BITMAP_TABLE_ENTRY_BYTES, bitmapTableEntry } from "../../format/bitmap-table-entry.ts";
import { type Geometry, l1EntriesFor, roundDown, roundUp } from "../../format/geometry.ts";
import { L1_ENTRY_BYTES, l1EntryOffset } from "../../format/l1-entry.ts";
import { decodeCompressedDescriptor, isCompressed, standardOffset } from "../../format/l2-entry.ts";
import {
  REFCOUNT_TABLE_ENTRY_BYTES,
  refcountTableEntryIsAligned,
  refcountTableEntryOffset,
} from "../../format/refcount-entry.ts";
import { viewOf } from "../../format/uint64.ts";
import { MAX_L1_BYTES } from "../../limits.ts";
import { readExactly, readOrZeroes } from "../../storage/read-exactly.ts";
import type { Storage } from "../../storage/storage.ts";
import { cryptoHeaderOf } from "../check/check-image.ts";
import { readTableRuns } from "../check/table-runs.ts";
import { ClusterSet } from "../cluster-set.ts";
import type { ImageLayout, TableLocation } from "../image-layout.ts";
import { assertBitmapsExtension, locateBitmapDirectory } from "../read-bitmap-directory.ts";
import { walkSnapshotTable } from "../read-snapshot-table.ts";
import { type ClusterUse, ClusterUses } from "./cluster-uses.ts";
import { surveySnapshots } from "./survey-snapshots.ts";

/** Bytes of a table that are looked at together. */
const PIECE_BYTES: number = 2 ** 20;
/** L2 tables that are read in the order of their offsets. */
const BATCH_TABLES = 8192;
/** Clusters behind the file, beside as many as twice the file has, in which references are noted. */
const CLUSTERS_BEHIND = 131_072;

/**
 * Follows every reference of the image: of active tables, of snapshots, of bitmaps, of refcounts; also those that lead
 * behind the end of the file, as far as a repair could put something there.
 * @throws Qcow2Error "io" if something cannot be read: then nobody knows what it refers to; the signal's reason
 */
export async function findUses(
  storage: Storage,
  layout: ImageLayout,
  signal: AbortSignal | undefined,
): Promise<ClusterUses> {
  const finder = await UseFinder.of(storage, layout, signal);
  await finder.find();
  return finder.uses;
}

class UseFinder {
  readonly uses: ClusterUses;
  readonly #storage: Storage;
  readonly #layout: ImageLayout;
  readonly #geometry: Geometry;
  readonly #fileSize: number;
  readonly #signal: AbortSignal | undefined;
  /** L2 tables that were read, or are about to be. */
  readonly #known = new ClusterSet();
  #waiting: number[] = [];

  private constructor(
    storage: Storage,
    layout: ImageLayout,
    { fileSize, signal }: { readonly fileSize: number; readonly signal: AbortSignal | undefined },
  ) {
    this.#storage = storage;
    this.#layout = layout;
    this.#geometry = layout.geometry;
    this.#fileSize = fileSize;
    this.#signal = signal;
    this.uses = new ClusterUses(3 * Math.ceil(fileSize / layout.geometry.clusterSize) + CLUSTERS_BEHIND);
  }

  static async of(
    storage: Storage,
    layout: ImageLayout,
    signal: AbortSignal | undefined,
  ): Promise<UseFinder> {
    return new UseFinder(storage, layout, { fileSize: await storage.size(), signal });
  }

  async find(): Promise<void> {
    const { l1Table, refcountTable, geometry } = this.#layout;
    this.#add("header", { offset: 0, length: geometry.clusterSize });
    const crypto = cryptoHeaderOf(this.#layout);
    if (crypto !== undefined) this.#add("fixed", crypto);
    this.#add("refcounts", refcountTable);
    await this.#findRefcountBlocks(refcountTable);
    await this.#findBitmaps();
    const { entries, places, problem } = await surveySnapshots(this.#storage, this.#layout);
    const readable = problem === undefined ? { extents: [], end: 0 } : await this.#readableSnapshots();
    const table = { offset: Number(this.#layout.header.snapshotsOffset), length: readable.end };
    for (const place of wholeClusters([...places, table], this.#geometry.clusterSize)) {
      this.#add("directory", place);
    }
    const trees = new Map([["active", this.#l1Extent(l1Table, this.#layout.virtualSize)]]);
    for (const { location, entry } of entries) {
      if (location === undefined) continue;
      const extent = this.#l1Extent(location, Number(entry.diskSize ?? this.#layout.virtualSize));
      trees.set(`${extent.offset}:${extent.length}`, extent);
    }
    for (const extent of readable.extents) trees.set(`${extent.offset}:${extent.length}`, extent);
    for (const location of trees.values()) {
      this.#add("l1-table", location);
      await this.#findL2Tables(location);
    }
    await this.#readWaiting();
  }

  /** L1 tables of all entries that can be opened as snapshots, however little else a repair makes of them. */
  async #readableSnapshots(): Promise<{ readonly extents: readonly TableLocation[]; readonly end: number }> {
    const { header, geometry, virtualSize } = this.#layout;
    const { snapshotsOffset, snapshotCount } = header;
    const extents: TableLocation[] = [];
    let tableEnd = 0;
    if (snapshotsOffset % BigInt(geometry.clusterSize) !== 0n) return { extents, end: tableEnd };
    try {
      for await (const { entry, end } of walkSnapshotTable(
        this.#storage,
        snapshotsOffset,
        snapshotCount,
        "refuse",
      )) {
        tableEnd = end;
        const location = { offset: Number(entry.l1TableOffset), length: entry.l1Size * L1_ENTRY_BYTES };
        const isReadable = location.length <= MAX_L1_BYTES && location.offset % geometry.clusterSize === 0;
        if (!isReadable || location.offset >= this.#fileSize) continue;
        extents.push(this.#l1Extent(location, Number(entry.diskSize ?? virtualSize)));
      }
    } catch (error) {
      if (!(error instanceof Qcow2Error) || isQcow2Error(error, "io")) throw error;
    }
    return { extents, end: tableEnd };
  }

  /** What is in the file of an L1 table, and what the disk needs of it: a length that is wrong keeps no place free. */
  #l1Extent({ offset, length }: TableLocation, size: number): TableLocation {
    const needed = l1EntriesFor(this.#geometry, size) * L1_ENTRY_BYTES;
    return { offset, length: Math.min(length, MAX_L1_BYTES, Math.max(this.#fileSize - offset, needed)) };
  }

  #add(use: ClusterUse, { offset, length }: TableLocation): void {
    if (length <= 0) return;
    const { clusterSize } = this.#geometry;
    this.uses.add(use, Math.floor(offset / clusterSize), Math.ceil((offset + length) / clusterSize));
  }

  async #findL2Tables(location: TableLocation): Promise<void> {
    const { clusterSize } = this.#geometry;
    for await (const view of this.#pieces(location)) {
      for (let index = 0; index < view.byteLength / L1_ENTRY_BYTES; index++) {
        const offset = l1EntryOffset(view, index);
        // Nobody reads through one that is not aligned.
        if (offset === 0 || offset % clusterSize !== 0) continue;
        this.#add("l2-table", { offset, length: clusterSize });
        const cluster = offset / clusterSize;
        if (offset >= this.#fileSize || this.#known.firstIn(cluster, cluster + 1) !== undefined) continue;
        this.#known.add(cluster);
        this.#waiting.push(offset);
        if (this.#waiting.length >= BATCH_TABLES) await this.#readWaiting();
      }
    }
  }

  async #readWaiting(): Promise<void> {
    const offsets = this.#waiting.sort((first, second) => first - second);
    this.#waiting = [];
    const { clusterSize } = this.#geometry;
    const runs = readTableRuns({
      storage: this.#storage,
      count: offsets.length,
      offsetAt: (index) => offsets[index] as number,
      tableBytes: clusterSize,
      signal: this.#signal,
    });
    for await (const run of runs) {
      if (run.failure !== undefined) throw run.failure;
      for (let index = run.first; index < run.end; index++) {
        this.#findGuestData(run.view, (offsets[index] as number) - run.fileOffset);
      }
    }
  }

  #findGuestData(view: DataView, start: number): void {
    if (this.#layout.hasDataFile) return;
    const { clusterSize, l2EntryBytes } = this.#geometry;
    for (let at = start; at < start + clusterSize; at += l2EntryBytes) {
      const [high, low] = [view.getUint32(at), view.getUint32(at + 4)];
      if ((high | low) === 0) continue;
      if (isCompressed(high)) {
        this.#add("guest-data", decodeCompressedDescriptor(this.#geometry, high, low));
        continue;
      }
      const offset = standardOffset(high, low);
      if (offset !== 0 && offset % clusterSize === 0) {
        this.#add("guest-data", { offset, length: clusterSize });
      }
    }
  }

  async #findRefcountBlocks(table: TableLocation): Promise<void> {
    const { clusterSize } = this.#geometry;
    for await (const view of this.#pieces(table)) {
      for (let index = 0; index < view.byteLength / REFCOUNT_TABLE_ENTRY_BYTES; index++) {
        const offset = refcountTableEntryOffset(view, index);
        if (offset === 0 || !refcountTableEntryIsAligned(view, index, clusterSize)) continue;
        this.#add("refcounts", { offset, length: clusterSize });
      }
    }
  }

  async #findBitmaps(): Promise<void> {
    const { bitmaps } = this.#layout;
    const { clusterSize } = this.#geometry;
    if (bitmaps === undefined) return;
    try {
      assertBitmapsExtension(bitmaps, clusterSize);
      const location = locateBitmapDirectory(bitmaps, this.#fileSize);
      this.#add("directory", location);
      const bytes = new Uint8Array(location.length);
      await readExactly(this.#storage, location.offset, bytes, "The bitmap directory");
      for (const entry of decodeBitmapDirectory(bytes, bitmaps.bitmapCount)) {
        const table = this.#bitmapTableExtent(entry);
        this.#add("fixed", table);
        await this.#findBitmapData(table);
      }
    } catch (error) {
      // What cannot be read refers to nothing that could be read.
      if (!(error instanceof Qcow2Error) || isQcow2Error(error, "io")) throw error;
    }
  }

  /** As of an L1 table. */
  #bitmapTableExtent({ tableOffset, tableSize, granularityBits }: BitmapDirectoryEntry): TableLocation {
    const offset = Number(tableOffset);
    const bitmapBytes = Math.ceil(this.#layout.virtualSize / 2 ** granularityBits / 8);
    const needed = Math.ceil(bitmapBytes / this.#geometry.clusterSize) * BITMAP_TABLE_ENTRY_BYTES;
    const length = tableSize * BITMAP_TABLE_ENTRY_BYTES;
    return { offset, length: Math.min(length, Math.max(this.#fileSize - offset, needed)) };
  }

  async #findBitmapData(table: TableLocation): Promise<void> {
    const { clusterSize } = this.#geometry;
    for await (const view of this.#pieces(table)) {
      for (let at = 0; at < view.byteLength; at += BITMAP_TABLE_ENTRY_BYTES) {
        const { isValid, offset } = bitmapTableEntry(view, at, clusterSize);
        if (isValid && offset !== 0) this.#add("fixed", { offset, length: clusterSize });
      }
    }
  }

  /** The part of a table that lies within the file, in pieces of whole entries. */
  async *#pieces({ offset, length }: TableLocation): AsyncGenerator<DataView> {
    const present = Math.max(0, Math.min(length, this.#fileSize - offset));
    for (let at = 0; at < present; at += PIECE_BYTES) {
      this.#signal?.throwIfAborted();
      const bytes = new Uint8Array(Math.ceil(Math.min(PIECE_BYTES, present - at) / 8) * 8);
      await readOrZeroes(this.#storage, offset + at, bytes);
      yield viewOf(bytes);
    }
  }
}

/** The clusters that `places` touch, each once. */
function wholeClusters(places: readonly TableLocation[], clusterSize: number): TableLocation[] {
  const touched = places
    .filter(({ length }) => length > 0)
    .map(({ offset, length }) => ({
      start: roundDown(offset, clusterSize),
      end: roundUp(offset + length, clusterSize),
    }))
    .sort((one, other) => one.start - other.start);
  const joined: TableLocation[] = [];
  for (const { start, end } of touched) {
    const last = joined.at(-1);
    if (last !== undefined && start <= last.offset + last.length) {
      const length = Math.max(last.length, end - last.offset);
      joined[joined.length - 1] = { offset: last.offset, length };
    } else joined.push({ offset: start, length: end - start });
  }
  return joined;
}
