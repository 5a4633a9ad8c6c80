/**
 * Refcounts as they will be after a {@link MetadataTransaction}. A block is copied into a free cluster when its first
 * refcount changes; blocks without changes belong to both, the refcounts that are and those that will be. Nothing that
 * the image refers to now is overwritten.
 */
import { assert, Qcow2Error } from "../../errors.ts";
import {
  REFCOUNT_TABLE_ENTRY_BYTES,
  type RefcountCodec,
  refcountCodec,
  refcountTableEntryOffset,
  setRefcountTableEntry,
} from "../../format/refcount-entry.ts";
import { viewOf } from "../../format/uint64.ts";
import { MAX_REFCOUNT_TABLE_BYTES } from "../../limits.ts";
import type { Storage } from "../../storage/storage.ts";
import { endClusterOf, noSpace } from "../fixed-size.ts";
import type { TableLocation } from "../image-layout.ts";
import type { RefcountStore } from "../refcount-store.ts";
import { TableCache } from "../table-cache.ts";

/** Writes to clusters that the image does not use. */
export type WriteNew = (offset: number, bytes: Uint8Array) => Promise<void>;

export class ShadowRefcounts {
  /** Bits of a refcount afterwards. */
  readonly refcountBits: number;
  /** Every block is written anew by {@link finish}, and what counts nothing any more is given up. */
  readonly #rewrites: boolean;
  readonly #current: RefcountStore;
  readonly #storage: Storage;
  readonly #write: WriteNew;
  readonly #prove: () => Promise<void>;
  #isProved = false;
  readonly #clusterSize: number;
  readonly #codec: RefcountCodec;
  /** Refcounts in one block afterwards. */
  readonly #perBlock: number;
  readonly #blocks: TableCache;
  readonly #copied = new Set<number>();
  #table: DataView;
  /** Clusters before this one were looked at: they are in use, or taken by this transaction, or too few in a row. */
  #nextCluster = 0;
  #tableLocation: TableLocation | undefined;

  /** `current` must have nothing that waits to be written. */
  constructor(options: {
    readonly current: RefcountStore;
    /** With another width than now, every block is written anew by {@link finish}. */
    readonly refcountBits: number;
    /** Write every block anew with the same width, too, so that they lie together. Default false. */
    readonly rewrite?: boolean | undefined;
    readonly storage: Storage;
    readonly write: WriteNew;
    /** Called before anything is relied on that the current refcounts say. */
    readonly prove: () => Promise<void>;
    readonly cacheBytes: number;
  }) {
    const { current, refcountBits } = options;
    this.refcountBits = refcountBits;
    this.#rewrites = options.rewrite === true || refcountBits !== current.geometry.refcountBits;
    this.#current = current;
    this.#storage = options.storage;
    this.#write = options.write;
    this.#prove = options.prove;
    this.#clusterSize = current.geometry.clusterSize;
    this.#codec = refcountCodec(Math.log2(refcountBits));
    this.#perBlock = (this.#clusterSize * 8) / refcountBits;
    this.#table = viewOf(this.#rewrites ? new Uint8Array(0) : current.table.bytes.slice());
    this.#blocks = new TableCache({
      storage: options.storage,
      structure: "Refcount block",
      tableBytes: this.#clusterSize,
      capacityBytes: options.cacheBytes,
    });
  }

  /** True if there is anything to write. */
  get isChanged(): boolean {
    return this.#copied.size > 0 || this.#rewrites;
  }

  async get(cluster: number): Promise<number> {
    const block = Math.floor(cluster / this.#perBlock);
    const offset = this.#offsetOf(block);
    if (offset === 0) return await this.#currentCount(cluster, block);
    return this.#blocks.with(offset, ({ view }) => this.#codec.get(view, cluster % this.#perBlock));
  }

  /** As {@link get}, if that is known without reading. */
  getResident(cluster: number): number | undefined {
    const offset = this.#offsetOf(Math.floor(cluster / this.#perBlock));
    const block = this.#blocks.get(offset);
    return block && this.#codec.get(block.view, cluster % this.#perBlock);
  }

  /**
   * Counts `delta` references more to each of the clusters first .. first + count.
   * @throws Qcow2Error "limit-exceeded" if refcounts of this width cannot count so many, "corrupt" if there were fewer
   */
  async change(first: number, count: number, delta: 1 | -1): Promise<void> {
    const codec = this.#codec;
    await this.#proveOnce();
    for (let cluster = first; cluster < first + count; ) {
      const block = Math.floor(cluster / this.#perBlock);
      const end = Math.min(first + count, (block + 1) * this.#perBlock);
      // A damaged entry leads anywhere: no block is made for what has no user anyway.
      if (delta < 0 && (this.getResident(cluster) ?? (await this.get(cluster))) === 0) {
        throw freeCluster(cluster * this.#clusterSize);
      }
      await this.#makeCopy(block);
      await this.#blocks.with(this.#offsetOf(block), (table) => {
        for (; cluster < end; cluster++) {
          const refcount = codec.get(table.view, cluster % this.#perBlock) + delta;
          if (refcount < 0) throw freeCluster(cluster * this.#clusterSize);
          if (refcount > codec.maximum) throw tooManyReferences(codec.maximum);
          codec.set(table.view, cluster % this.#perBlock, refcount);
        }
        this.#blocks.markDirty(table);
      });
      if (this.#blocks.underPressure) await this.#writeBlocks();
    }
  }

  /**
   * As {@link change}, for one user more of clusters that have some by now.
   * @throws Qcow2Error "corrupt" if one is not counted at all
   */
  async addUser(first: number, count: number): Promise<void> {
    for (let cluster = first; cluster < first + count; cluster++) {
      const known = this.getResident(cluster);
      if ((known === undefined ? await this.get(cluster) : known) === 0) {
        throw freeCluster(cluster * this.#clusterSize);
      }
    }
    await this.change(first, count, 1);
  }

  /** Takes `count` clusters in a row that nothing refers to, and counts one reference to each. Returns the first. */
  async allocate(count: number): Promise<number> {
    const first = await this.#takeFree(count);
    await this.change(first, count, 1);
    return first;
  }

  /** As {@link allocate}, from cluster `from` on, which must be behind all that is in use. */
  async allocateBehind(from: number, count: number): Promise<number> {
    await this.#proveOnce();
    this.#nextCluster = Math.max(this.#nextCluster, from);
    return await this.allocate(count);
  }

  /**
   * After the switch: gives clusters back to the host that were in use and are not any more, and the end of the file
   * behind the last one in use. Nothing depends on it, so that a failure is none.
   */
  async giveBackFreed(): Promise<void> {
    try {
      const end = await this.#endOfUsed();
      // Neighbours are given back together: freed clusters come in long runs.
      let [runStart, runEnd] = [0, 0];
      for (const block of this.#changedBlocks()) {
        for (const cluster of await this.#freedIn(block)) {
          if (cluster >= end) break;
          if (cluster !== runEnd) {
            await this.#punch(runStart, runEnd);
            runStart = cluster;
          }
          runEnd = cluster + 1;
        }
      }
      await this.#punch(runStart, runEnd);
      if (end * this.#clusterSize < (await this.#storage.size())) {
        await this.#storage.truncate(end * this.#clusterSize);
      }
    } catch {
      // The space stays with the file.
    }
  }

  /** The cluster after the last one in use. */
  async #endOfUsed(): Promise<number> {
    for (let block = this.#table.byteLength / REFCOUNT_TABLE_ENTRY_BYTES - 1; block >= 0; block--) {
      const offset = this.#offsetOf(block);
      if (offset === 0) continue;
      const last = await this.#blocks.with(offset, ({ view }) => {
        let index = this.#perBlock - 1;
        while (index >= 0 && this.#codec.get(view, index) === 0) index--;
        return index;
      });
      if (last >= 0) return block * this.#perBlock + last + 1;
    }
    return 0;
  }

  /** Indexes of the blocks in which refcounts may be others now, as they were divided before. */
  #changedBlocks(): number[] {
    const { table } = this.#current;
    if (this.#rewrites) return Array.from({ length: table.entries }, (_, block) => block);
    return [...this.#copied].filter((block) => block < table.entries).sort((a, b) => a - b);
  }

  /** The clusters of a block that were in use and are not any more. */
  async #freedIn(block: number): Promise<number[]> {
    const { codec, geometry } = this.#current;
    const used = await this.#current.withBlock(block, (table) =>
      table === undefined ? [] : usedIndexes(codec, table.view, geometry.refcountsPerBlock),
    );
    const freed: number[] = [];
    for (const index of used) {
      const cluster = block * geometry.refcountsPerBlock + index;
      if ((this.getResident(cluster) ?? (await this.get(cluster))) === 0) freed.push(cluster);
    }
    return freed;
  }

  /** Writes blocks and table; returns where the table is. Nothing may be changed afterwards. */
  async finish(): Promise<TableLocation> {
    if (this.#tableLocation !== undefined) return this.#tableLocation;
    const old = this.#current.table;
    await this.#proveOnce();
    if (this.#rewrites) await this.#convertAll();
    await this.change(old.offset / this.#clusterSize, old.bytes.length / this.#clusterSize, -1);
    if (this.#rewrites) await this.#dropEmptyBlocks();
    let clusters: number;
    let first: number;
    // Counting the table's own clusters may need a block more, and that a longer table.
    for (;;) {
      clusters = Math.max(1, Math.ceil(this.#table.byteLength / this.#clusterSize));
      first = await this.allocate(clusters);
      if (Math.ceil(this.#table.byteLength / this.#clusterSize) <= clusters) break;
      await this.change(first, clusters, -1);
    }
    await this.#writeBlocks();
    const bytes = new Uint8Array(clusters * this.#clusterSize);
    bytes.set(new Uint8Array(this.#table.buffer, this.#table.byteOffset, this.#table.byteLength));
    await this.#write(first * this.#clusterSize, bytes);
    this.#tableLocation = { offset: first * this.#clusterSize, length: bytes.length };
    return this.#tableLocation;
  }

  async #proveOnce(): Promise<void> {
    if (this.#isProved) return;
    await this.#prove();
    this.#isProved = true;
  }

  #offsetOf(block: number): number {
    const entries = this.#table.byteLength / REFCOUNT_TABLE_ENTRY_BYTES;
    return block < entries ? refcountTableEntryOffset(this.#table, block) : 0;
  }

  /** Clusters start .. end (exclusive). */
  async #punch(start: number, end: number): Promise<void> {
    if (end > start) {
      await this.#storage.punchHole?.(start * this.#clusterSize, (end - start) * this.#clusterSize);
    }
  }

  /** What a block that was not copied will say: where all are written anew, what the current one says. */
  async #currentCount(cluster: number, block: number): Promise<number> {
    if (!this.#rewrites || this.#copied.has(block)) return 0;
    const { codec, geometry } = this.#current;
    const index = Math.floor(cluster / geometry.refcountsPerBlock);
    return await this.#current.withBlock(index, (table) =>
      table === undefined ? 0 : codec.get(table.view, cluster % geometry.refcountsPerBlock),
    );
  }

  /** Gives a block a cluster of its own, the first time that one of its refcounts changes. */
  async #makeCopy(block: number): Promise<void> {
    const isDropped = this.#copied.has(block) && this.#offsetOf(block) === 0;
    if (this.#copied.has(block) && !isDropped) return;
    assert(this.#tableLocation === undefined, "refcounts change before they are written");
    let bytes = new Uint8Array(this.#clusterSize);
    if (!isDropped) bytes = this.#rewrites ? await this.#convert(block) : await this.#readCurrent(block);
    this.#copied.add(block);
    // Checks that the current block is where one may be.
    const oldOffset = this.#rewrites ? 0 : this.#current.blockOffset(block);
    const home = await this.#takeFree(1);
    this.#blocks.addNew(home * this.#clusterSize).bytes.set(bytes);
    this.#setOffset(block, home * this.#clusterSize);
    await this.change(home, 1, 1);
    if (oldOffset !== 0) await this.change(oldOffset / this.#clusterSize, 1, -1);
  }

  async #readCurrent(block: number): Promise<Uint8Array<ArrayBuffer>> {
    const bytes = new Uint8Array(this.#clusterSize);
    await this.#current.withBlock(block, (table) => {
      if (table !== undefined) bytes.set(table.bytes);
    });
    return bytes;
  }

  /** The refcounts of a block of the new width. */
  async #convert(block: number): Promise<Uint8Array<ArrayBuffer>> {
    const bytes = new Uint8Array(this.#clusterSize);
    const view = viewOf(bytes);
    const { codec, geometry } = this.#current;
    const end = (block + 1) * this.#perBlock;
    for (let cluster = block * this.#perBlock; cluster < end; ) {
      const index = Math.floor(cluster / geometry.refcountsPerBlock);
      const indexEnd = Math.min(end, (index + 1) * geometry.refcountsPerBlock);
      await this.#current.withBlock(index, (table) => {
        for (; table !== undefined && cluster < indexEnd; cluster++) {
          const count = codec.get(table.view, cluster % geometry.refcountsPerBlock);
          if (count > this.#codec.maximum) {
            throw tooNarrow(cluster * this.#clusterSize, count, this.#codec.maximum);
          }
          this.#codec.set(view, cluster % this.#perBlock, count);
        }
      });
      cluster = indexEnd;
    }
    return bytes;
  }

  /** Makes new blocks of all that count anything, and gives up all of the old ones. */
  async #convertAll(): Promise<void> {
    const { table, geometry } = this.#current;
    for (let index = 0; index < table.entries; index++) {
      const offset = this.#current.blockOffset(index);
      if (offset === 0) continue;
      const first = index * geometry.refcountsPerBlock;
      const last = Math.floor((first + geometry.refcountsPerBlock - 1) / this.#perBlock);
      for (let block = Math.floor(first / this.#perBlock); block <= last; block++) {
        if (await this.#isUsed(block)) await this.#makeCopy(block);
      }
      await this.change(offset / this.#clusterSize, 1, -1);
    }
  }

  /** Gives up blocks that count nothing any more, and the end of the table that names none. */
  async #dropEmptyBlocks(): Promise<void> {
    for (const block of this.#copied) {
      const offset = this.#offsetOf(block);
      if (offset === 0) continue;
      const isEmpty = await this.#blocks.with(offset, ({ bytes }) => bytes.every((byte) => byte === 0));
      if (!isEmpty) continue;
      setRefcountTableEntry(this.#table, block, 0);
      this.#blocks.drop(offset);
      await this.change(offset / this.#clusterSize, 1, -1);
    }
    let entries = this.#table.byteLength / REFCOUNT_TABLE_ENTRY_BYTES;
    while (entries > 0 && this.#offsetOf(entries - 1) === 0) entries--;
    const bytes = entries * REFCOUNT_TABLE_ENTRY_BYTES;
    this.#table = viewOf(new Uint8Array(this.#table.buffer, this.#table.byteOffset, bytes).slice());
  }

  async #isUsed(block: number): Promise<boolean> {
    return !this.#copied.has(block) && (await this.#convert(block)).some((byte) => byte !== 0);
  }

  #setOffset(block: number, offset: number): void {
    const needed = (block + 1) * REFCOUNT_TABLE_ENTRY_BYTES;
    if (needed > MAX_REFCOUNT_TABLE_BYTES) {
      throw new Qcow2Error("limit-exceeded", "The image has reached the largest size of its refcount table", {
        what: "refcount table bytes",
        found: needed,
        maximum: MAX_REFCOUNT_TABLE_BYTES,
      });
    }
    if (needed > this.#table.byteLength) {
      const longer = new Uint8Array(Math.ceil(needed / this.#clusterSize) * this.#clusterSize);
      longer.set(new Uint8Array(this.#table.buffer, this.#table.byteOffset, this.#table.byteLength));
      this.#table = viewOf(longer);
    }
    setRefcountTableEntry(this.#table, block, offset);
  }

  /** The first of `count` clusters in a row that are free now and that nobody was given before. */
  async #takeFree(count: number): Promise<number> {
    const { codec, geometry } = this.#current;
    await this.#proveOnce();
    const endCluster = await endClusterOf(this.#storage, this.#clusterSize);
    const { refcountsPerBlock } = geometry;
    let run = 0;
    while (run < count) {
      const block = Math.floor(this.#nextCluster / refcountsPerBlock);
      const end = (block + 1) * refcountsPerBlock;
      run = await this.#current.withBlock(block, (table) => {
        for (; this.#nextCluster < end && run < count; this.#nextCluster++) {
          const isFree =
            table === undefined || codec.get(table.view, this.#nextCluster % refcountsPerBlock) === 0;
          run = isFree ? run + 1 : 0;
        }
        return run;
      });
      if (this.#nextCluster > endCluster) throw noSpace(this.#storage.name);
    }
    return this.#nextCluster - count;
  }

  async #writeBlocks(): Promise<void> {
    const copies = this.#blocks.takeDirty();
    try {
      for (const { offset, bytes } of copies) await this.#write(offset, bytes);
    } catch (error) {
      this.#blocks.notWritten(copies);
      throw error;
    }
    this.#blocks.written(copies);
  }
}

function usedIndexes(codec: RefcountCodec, view: DataView, count: number): number[] {
  const used: number[] = [];
  for (let index = 0; index < count; index++) if (codec.get(view, index) !== 0) used.push(index);
  return used;
}

function freeCluster(offset: number): Qcow2Error {
  return new Qcow2Error("corrupt", `The cluster at host offset ${offset} is in use, but its refcount is 0`, {
    structure: "refcount block",
    offset,
  });
}

function tooNarrow(offset: number, found: number, maximum: number): Qcow2Error {
  const bits = Math.log2(maximum + 1);
  return new Qcow2Error(
    "limit-exceeded",
    `Cannot decrease refcount entry width to ${bits} bits: Cluster at offset 0x${offset.toString(16)} has a refcount of ${found}`,
    { what: "refcount", found, maximum },
  );
}

function tooManyReferences(maximum: number): Qcow2Error {
  return new Qcow2Error(
    "limit-exceeded",
    `The image's refcounts cannot count more than ${maximum} ${maximum === 1 ? "reference" : "references"} to a cluster`,
    { what: "refcount", found: maximum + 1, maximum },
  );
}
