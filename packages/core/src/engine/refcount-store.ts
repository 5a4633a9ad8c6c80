/** Refcounts of host clusters: a resident refcount table and a bounded cache of blocks (specification: "Refcount table", "Refcount blocks"). */
import { assert, Qcow2Error } from "../errors.ts";
import { type Geometry, hostClusterOf } from "../format/geometry.ts";
import {
  type RefcountCodec,
  refcountCodec,
  refcountTableEntryOffset,
  setRefcountTableEntry,
} from "../format/refcount-entry.ts";
import { isExactRange } from "../format/uint64.ts";
import { readPresent } from "../storage/read-exactly.ts";
import type { Storage } from "../storage/storage.ts";
import type { TableLocation } from "./image-layout.ts";
import { ResidentTable } from "./resident-table.ts";
import { type CachedTable, TableCache } from "./table-cache.ts";

export class RefcountStore {
  readonly geometry: Geometry;
  readonly codec: RefcountCodec;
  readonly blocks: TableCache;
  readonly #storage: Storage;
  #table: ResidentTable;

  private constructor(storage: Storage, geometry: Geometry, table: ResidentTable, cacheBytes: number) {
    this.#storage = storage;
    this.geometry = geometry;
    this.codec = refcountCodec(Math.log2(geometry.refcountBits));
    this.#table = table;
    this.blocks = new TableCache({
      storage,
      structure: "Refcount block",
      tableBytes: geometry.clusterSize,
      capacityBytes: cacheBytes,
    });
  }

  /** Reads the refcount table. @throws Qcow2Error "truncated" if it is not in the file as a whole, "io" */
  static async load(options: {
    readonly storage: Storage;
    readonly geometry: Geometry;
    readonly location: TableLocation;
    readonly cacheBytes: number;
  }): Promise<RefcountStore> {
    const table = await readPresent(options.storage, options.location, "Refcount table");
    return new RefcountStore(
      options.storage,
      options.geometry,
      new ResidentTable(table, options.location.offset),
      options.cacheBytes,
    );
  }

  get table(): ResidentTable {
    return this.#table;
  }

  /** The block that counts a cluster, by its index in the refcount table. */
  blockIndexOf(cluster: number): number {
    return Math.floor(cluster / this.geometry.refcountsPerBlock);
  }

  /**
   * Host offset of a refcount block; 0 if there is none.
   * @throws Qcow2Error "corrupt" if the entry is no possible offset.
   */
  blockOffset(blockIndex: number): number {
    if (blockIndex >= this.#table.entries) return 0;
    const offset = refcountTableEntryOffset(this.#table.view, blockIndex);
    const { clusterSize } = this.geometry;
    if (offset % clusterSize !== 0 || !isExactRange(offset, clusterSize)) {
      throw new Qcow2Error(
        "corrupt",
        `Refcount block offset 0x${offset.toString(16)} invalid (index ${blockIndex})`,
        {
          structure: "Refcount table",
          offset,
        },
      );
    }
    return offset;
  }

  /** Calls `use`, which is synchronous, with the block of that index, or with undefined if there is none. */
  async withBlock<Result>(
    blockIndex: number,
    use: (block: CachedTable | undefined) => Result,
  ): Promise<Result> {
    const offset = this.blockOffset(blockIndex);
    return offset === 0 ? use(undefined) : this.blocks.with(offset, use);
  }

  /** Sets refcounts of `count` clusters from `first`, all in the block, which must be resident. */
  setInBlock(block: CachedTable, first: number, count: number, value: number): void {
    assert(value >= 0 && value <= this.codec.maximum, `refcount ${value} does not fit`);
    const start = first % this.geometry.refcountsPerBlock;
    for (let index = start; index < start + count; index++) this.codec.set(block.view, index, value);
    this.blocks.markDirty(block);
  }

  /** Points a table entry at a new block; it reaches the disk after the block. */
  setBlockOffset(blockIndex: number, offset: number): void {
    assert(blockIndex < this.#table.entries, "refcount table too small");
    setRefcountTableEntry(this.#table.view, blockIndex, offset);
    this.#table.markEntryDirty(blockIndex);
  }

  /** Replaces the table by a larger one that is already on disk. */
  replaceTable(table: ResidentTable): void {
    assert(!this.#table.isDirty, "the old refcount table has unwritten entries");
    this.#table = table;
  }

  /** Counts clusters in use, stopping soon after there are `enough`. */
  async countUsedClusters(enough: number): Promise<number> {
    const { refcountsPerBlock } = this.geometry;
    const fileClusters = hostClusterOf(
      this.geometry,
      (await this.#storage.size()) + this.geometry.clusterSize - 1,
    );
    // What lies behind the last block is free; a sparse file can be longer by far.
    const clusterCount = Math.min(fileClusters, this.#table.entries * refcountsPerBlock);
    let used = 0;
    for (let first = 0; first < clusterCount && used < enough; first += refcountsPerBlock) {
      const end = Math.min(refcountsPerBlock, clusterCount - first);
      used += await this.withBlock(first / refcountsPerBlock, (block) => {
        let count = 0;
        for (let index = 0; block !== undefined && index < end; index++) {
          if (this.codec.get(block.view, index) !== 0) count++;
        }
        return count;
      });
    }
    return used;
  }
}
