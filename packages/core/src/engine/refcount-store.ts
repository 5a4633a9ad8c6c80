/** Refcounts of host clusters: a resident refcount table and a bounded cache of blocks (specification: "Refcount table", "Refcount blocks"). */
import { assert, Qcow2Error } from "../errors.ts";
import { type Geometry, hostClusterOf } from "../format/geometry.ts";
import {
  REFCOUNT_TABLE_ENTRY_BYTES,
  type RefcountCodec,
  refcountCodec,
  refcountTableEntryOffset,
  setRefcountTableEntry,
} from "../format/refcount-entry.ts";
import { viewOf } from "../format/uint64.ts";
import { readExactly } from "../storage/read-exactly.ts";
import type { Storage } from "../storage/storage.ts";
import type { TableLocation } from "./image-layout.ts";
import { type CachedTable, TableCache } from "./table-cache.ts";

export class RefcountStore {
  readonly geometry: Geometry;
  readonly codec: RefcountCodec;
  readonly blocks: TableCache;
  readonly #storage: Storage;
  #location: TableLocation;
  #table: DataView;
  readonly #dirtyEntries = new Set<number>();

  private constructor(
    storage: Storage,
    geometry: Geometry,
    table: Uint8Array,
    location: TableLocation,
    cacheBytes: number,
  ) {
    this.#storage = storage;
    this.geometry = geometry;
    this.codec = refcountCodec(Math.log2(geometry.refcountBits));
    this.#location = location;
    this.#table = viewOf(table);
    this.blocks = new TableCache({
      storage,
      structure: "Refcount block",
      tableBytes: geometry.clusterSize,
      capacityBytes: cacheBytes,
    });
  }

  /** Reads the refcount table, whose location must have been checked against the file's size. */
  static async load(options: {
    readonly storage: Storage;
    readonly geometry: Geometry;
    readonly location: TableLocation;
    readonly cacheBytes: number;
  }): Promise<RefcountStore> {
    const table = new Uint8Array(options.location.length);
    await readExactly(options.storage, options.location.offset, table, "Refcount table");
    return new RefcountStore(options.storage, options.geometry, table, options.location, options.cacheBytes);
  }

  get tableLocation(): TableLocation {
    return this.#location;
  }

  /** Refcount blocks that the table has room for. */
  get tableEntries(): number {
    return this.#table.byteLength / REFCOUNT_TABLE_ENTRY_BYTES;
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
    if (blockIndex >= this.tableEntries) return 0;
    const offset = refcountTableEntryOffset(this.#table, blockIndex);
    if (offset % this.geometry.clusterSize !== 0 || !Number.isSafeInteger(offset)) {
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

  /** The block with that index, loaded if need be; undefined if there is none. */
  async block(blockIndex: number): Promise<CachedTable | undefined> {
    const offset = this.blockOffset(blockIndex);
    return offset === 0 ? undefined : this.blocks.load(offset);
  }

  async refcount(cluster: number): Promise<number> {
    const block = await this.block(this.blockIndexOf(cluster));
    return block === undefined ? 0 : this.codec.get(block.view, cluster % this.geometry.refcountsPerBlock);
  }

  /** Sets refcounts of `count` clusters from `first`, all in the block, which must be resident. */
  setInBlock(block: CachedTable, first: number, count: number, value: number): void {
    assert(value >= 0 && value <= this.codec.maximum, `refcount ${value} does not fit`);
    const start = first % this.geometry.refcountsPerBlock;
    for (let index = start; index < start + count; index++) this.codec.set(block.view, index, value);
    this.blocks.markDirty(block);
  }

  /** Points a table entry at a new block; it reaches the disk with {@link takeDirtyEntries}. */
  setBlockOffset(blockIndex: number, offset: number): void {
    assert(blockIndex < this.tableEntries, "refcount table too small");
    setRefcountTableEntry(this.#table, blockIndex, offset);
    this.#dirtyEntries.add(blockIndex);
  }

  /** Replaces the table by a larger copy that is already on disk at `offset`. */
  replaceTable(table: Uint8Array, offset: number): void {
    this.#table = viewOf(table);
    this.#location = { offset, length: table.length };
    this.#dirtyEntries.clear();
  }

  /** A copy of the table with room for at least `entries` entries, in whole clusters. */
  enlargedTable(entries: number): Uint8Array {
    const { clusterSize } = this.geometry;
    const bytes = Math.ceil((entries * REFCOUNT_TABLE_ENTRY_BYTES) / clusterSize) * clusterSize;
    const table = new Uint8Array(Math.max(bytes, this.#table.byteLength));
    table.set(new Uint8Array(this.#table.buffer, this.#table.byteOffset, this.#table.byteLength));
    return table;
  }

  get hasDirtyEntries(): boolean {
    return this.#dirtyEntries.size > 0;
  }

  /** The changed table entries as writes; they count as clean from now on. */
  takeDirtyEntries(): { readonly offset: number; readonly bytes: Uint8Array }[] {
    const writes = Array.from(this.#dirtyEntries, (index) => {
      const at = index * REFCOUNT_TABLE_ENTRY_BYTES;
      const bytes = new Uint8Array(REFCOUNT_TABLE_ENTRY_BYTES);
      bytes.set(new Uint8Array(this.#table.buffer, this.#table.byteOffset + at, REFCOUNT_TABLE_ENTRY_BYTES));
      return { offset: this.#location.offset + at, bytes };
    });
    this.#dirtyEntries.clear();
    return writes.sort((first, second) => first.offset - second.offset);
  }

  /** Marks table entries dirty again whose writes failed. */
  restoreDirtyEntries(writes: readonly { readonly offset: number }[]): void {
    for (const { offset } of writes) {
      this.#dirtyEntries.add((offset - this.#location.offset) / REFCOUNT_TABLE_ENTRY_BYTES);
    }
  }

  /** Counts clusters in use, stopping once there are `enough`. */
  async countUsedClusters(enough: number): Promise<number> {
    const { refcountsPerBlock } = this.geometry;
    const clusterCount = hostClusterOf(
      this.geometry,
      (await this.#storage.size()) + this.geometry.clusterSize - 1,
    );
    let used = 0;
    for (let first = 0; first < clusterCount && used < enough; first += refcountsPerBlock) {
      const block = await this.block(first / refcountsPerBlock);
      if (block === undefined) continue;
      const end = Math.min(refcountsPerBlock, clusterCount - first);
      for (let index = 0; index < end && used < enough; index++) {
        if (this.codec.get(block.view, index) !== 0) used++;
      }
    }
    return used;
  }
}
