/**
 * Refcounts as they will be after a {@link MetadataTransaction}. A block is copied into a free cluster when its first
 * refcount changes; blocks without changes belong to both, the refcounts that are and those that will be. Nothing that
 * the image refers to now is overwritten.
 */
import { assert, Qcow2Error } from "../../errors.ts";
import {
  REFCOUNT_TABLE_ENTRY_BYTES,
  refcountTableEntryOffset,
  setRefcountTableEntry,
} from "../../format/refcount-entry.ts";
import { viewOf } from "../../format/uint64.ts";
import { MAX_REFCOUNT_TABLE_BYTES } from "../../limits.ts";
import type { Storage } from "../../storage/storage.ts";
import type { TableLocation } from "../image-layout.ts";
import type { RefcountStore } from "../refcount-store.ts";
import { TableCache } from "../table-cache.ts";

/** Writes to clusters that the image does not use. */
export type WriteNew = (offset: number, bytes: Uint8Array) => Promise<void>;

export class ShadowRefcounts {
  readonly #current: RefcountStore;
  readonly #write: WriteNew;
  readonly #clusterSize: number;
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
    readonly storage: Storage;
    readonly write: WriteNew;
    readonly cacheBytes: number;
  }) {
    const { current } = options;
    this.#current = current;
    this.#write = options.write;
    this.#clusterSize = current.geometry.clusterSize;
    this.#perBlock = current.geometry.refcountsPerBlock;
    this.#table = viewOf(current.table.bytes.slice());
    this.#blocks = new TableCache({
      storage: options.storage,
      structure: "Refcount block",
      tableBytes: this.#clusterSize,
      capacityBytes: options.cacheBytes,
    });
  }

  async get(cluster: number): Promise<number> {
    const block = Math.floor(cluster / this.#perBlock);
    const offset = this.#offsetOf(block);
    if (offset === 0) return 0;
    const { codec } = this.#current;
    return this.#blocks.with(offset, ({ view }) => codec.get(view, cluster % this.#perBlock));
  }

  /** As {@link get}, if that is known without reading. */
  getResident(cluster: number): number | undefined {
    const offset = this.#offsetOf(Math.floor(cluster / this.#perBlock));
    const block = this.#blocks.get(offset);
    return block && this.#current.codec.get(block.view, cluster % this.#perBlock);
  }

  /**
   * Counts `delta` references more to each of the clusters first .. first + count.
   * @throws Qcow2Error "limit-exceeded" if refcounts of this width cannot count so many, "corrupt" if there were fewer
   */
  async change(first: number, count: number, delta: 1 | -1): Promise<void> {
    const { codec } = this.#current;
    for (let cluster = first; cluster < first + count; ) {
      const block = Math.floor(cluster / this.#perBlock);
      const end = Math.min(first + count, (block + 1) * this.#perBlock);
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

  /** Takes `count` clusters in a row that nothing refers to, and counts one reference to each. Returns the first. */
  async allocate(count: number): Promise<number> {
    const first = await this.#takeFree(count);
    await this.change(first, count, 1);
    return first;
  }

  /** Writes blocks and table; returns where the table is. Nothing may be changed afterwards. */
  async finish(): Promise<TableLocation> {
    if (this.#tableLocation !== undefined) return this.#tableLocation;
    const old = this.#current.table;
    await this.change(old.offset / this.#clusterSize, old.bytes.length / this.#clusterSize, -1);
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

  #offsetOf(block: number): number {
    const entries = this.#table.byteLength / REFCOUNT_TABLE_ENTRY_BYTES;
    return block < entries ? refcountTableEntryOffset(this.#table, block) : 0;
  }

  /** Gives a block a cluster of its own, the first time that one of its refcounts changes. */
  async #makeCopy(block: number): Promise<void> {
    if (this.#copied.has(block)) return;
    assert(this.#tableLocation === undefined, "refcounts change before they are written");
    this.#copied.add(block);
    // Checks that the current block is where one may be.
    const oldOffset = this.#current.blockOffset(block);
    const old = await this.#current.withBlock(block, (table) => table?.bytes.slice());
    const home = await this.#takeFree(1);
    const copy = this.#blocks.addNew(home * this.#clusterSize);
    if (old !== undefined) copy.bytes.set(old);
    this.#setOffset(block, home * this.#clusterSize);
    await this.change(home, 1, 1);
    if (oldOffset !== 0) await this.change(oldOffset / this.#clusterSize, 1, -1);
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
    const { codec } = this.#current;
    let run = 0;
    while (run < count) {
      const block = Math.floor(this.#nextCluster / this.#perBlock);
      const end = (block + 1) * this.#perBlock;
      run = await this.#current.withBlock(block, (table) => {
        for (; this.#nextCluster < end && run < count; this.#nextCluster++) {
          const isFree =
            table === undefined || codec.get(table.view, this.#nextCluster % this.#perBlock) === 0;
          run = isFree ? run + 1 : 0;
        }
        return run;
      });
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

function freeCluster(offset: number): Qcow2Error {
  return new Qcow2Error("corrupt", `The cluster at host offset ${offset} is in use, but its refcount is 0`, {
    structure: "refcount block",
    offset,
  });
}

function tooManyReferences(maximum: number): Qcow2Error {
  return new Qcow2Error(
    "limit-exceeded",
    `The image's refcounts cannot count more than ${maximum} ${maximum === 1 ? "reference" : "references"} to a cluster`,
    { what: "refcount", found: maximum + 1, maximum },
  );
}
