/** The refcounts that the image stores, read in large runs for one window of clusters, or one by one. */
import { type Geometry, roundDown } from "../../format/geometry.ts";
import {
  REFCOUNT_TABLE_ENTRY_BYTES,
  type RefcountCodec,
  refcountCodec,
  refcountTableEntryIsAligned,
  refcountTableEntryOffset,
} from "../../format/refcount-entry.ts";
import { viewOf } from "../../format/uint64.ts";
import { readOrZeroes } from "../../storage/read-exactly.ts";
import type { Storage } from "../../storage/storage.ts";
import { FLAG_STORED_ONE, FLAG_STORED_UNKNOWN, type ReferenceWindow } from "./reference-window.ts";
import { readTableRuns } from "./table-runs.ts";

/** Offsets from here on cannot be read by anyone: QEMU's largest disk. */
const MAX_READABLE_OFFSET: number = 2 ** 63 - 2 ** 30;

/** Refcounts of the clusters `first` .. `end` - 1. */
export interface RefcountRange {
  readonly first: number;
  readonly end: number;
  /** "zero": there is no block. "unknown": the block cannot be read, for the reason given. */
  readonly state: "stored" | "zero" | "unknown";
  /** The block and the index in it of cluster `first`; only if stored. */
  readonly block: DataView | undefined;
  readonly index: number;
  readonly reason: string | undefined;
}

export class StoredRefcounts {
  readonly codec: RefcountCodec;
  readonly #storage: Storage;
  readonly #geometry: Geometry;
  readonly #fileSize: number;
  /** As much of the table as the file has; beyond it are zeroes. */
  readonly #table: DataView;
  #cachedBlock: { readonly offset: number; readonly view: DataView } | undefined;

  constructor(options: {
    readonly storage: Storage;
    readonly geometry: Geometry;
    readonly fileSize: number;
    readonly table: Uint8Array;
  }) {
    this.codec = refcountCodec(Math.log2(options.geometry.refcountBits));
    this.#storage = options.storage;
    this.#geometry = options.geometry;
    this.#fileSize = options.fileSize;
    this.#table = viewOf(options.table);
  }

  /** The table's entries that lie within the file. */
  get presentEntries(): number {
    return Math.floor(this.#table.byteLength / REFCOUNT_TABLE_ENTRY_BYTES);
  }

  get table(): DataView {
    return this.#table;
  }

  /** Host offset of a block; 0 if there is none. May be anything in a damaged image. */
  blockOffset(blockIndex: number): number {
    return blockIndex < this.presentEntries ? refcountTableEntryOffset(this.#table, blockIndex) : 0;
  }

  /** True if the refcount table says that the cluster's refcount is in a place that cannot be read. */
  isUnknown(cluster: number): boolean {
    const blockIndex = Math.floor(cluster / this.#geometry.refcountsPerBlock);
    if (blockIndex >= this.presentEntries) return false;
    return (
      !refcountTableEntryIsAligned(this.#table, blockIndex, this.#geometry.clusterSize) ||
      refcountTableEntryOffset(this.#table, blockIndex) >= MAX_READABLE_OFFSET
    );
  }

  /** The refcount of any cluster, also one beyond the end of the file; undefined if it cannot be found out. */
  async refcount(cluster: number): Promise<number | undefined> {
    if (this.isUnknown(cluster)) return undefined;
    const { refcountsPerBlock, clusterSize } = this.#geometry;
    const offset = this.blockOffset(Math.floor(cluster / refcountsPerBlock));
    if (offset === 0 || offset >= this.#fileSize) return 0;
    if (this.#cachedBlock?.offset !== offset) {
      const bytes = new Uint8Array(clusterSize);
      await readOrZeroes(this.#storage, offset, bytes);
      this.#cachedBlock = { offset, view: viewOf(bytes) };
    }
    return this.codec.get(this.#cachedBlock.view, cluster % refcountsPerBlock);
  }

  /** True if {@link refcount} would answer 0 without reading. */
  isZeroWithoutReading(cluster: number): boolean {
    if (this.isUnknown(cluster)) return false;
    const offset = this.blockOffset(Math.floor(cluster / this.#geometry.refcountsPerBlock));
    return offset === 0 || offset >= this.#fileSize;
  }

  /** All refcounts of the clusters `first` .. `end` - 1 in order; a range is valid until the next is asked for. */
  async *ranges(first: number, end: number, signal: AbortSignal | undefined): AsyncGenerator<RefcountRange> {
    const { refcountsPerBlock, clusterSize } = this.#geometry;
    const blocks = this.#readableBlocks(first, end);
    let done = first;
    for await (const run of readTableRuns({
      storage: this.#storage,
      count: blocks.length,
      offsetAt: (index) => this.blockOffset(blocks[index] as number),
      tableBytes: clusterSize,
      signal,
    })) {
      for (let i = run.first; i < run.end; i++) {
        const blockIndex = blocks[i] as number;
        const blockFirst = Math.max(first, blockIndex * refcountsPerBlock);
        yield* this.#rangesWithoutBlocks(done, blockFirst);
        done = Math.min(end, (blockIndex + 1) * refcountsPerBlock);
        const start = this.blockOffset(blockIndex) - run.fileOffset;
        yield {
          first: blockFirst,
          end: done,
          state: run.failure === undefined ? "stored" : "unknown",
          block: new DataView(run.view.buffer, run.view.byteOffset + start, clusterSize),
          index: blockFirst - blockIndex * refcountsPerBlock,
          reason: run.failure?.message,
        };
      }
    }
    yield* this.#rangesWithoutBlocks(done, end);
  }

  /** Notes in the window's flags which clusters have a refcount of one. */
  async fillFlags(window: ReferenceWindow, signal: AbortSignal | undefined): Promise<void> {
    for await (const range of this.ranges(window.first, window.end, signal)) {
      if (range.state === "unknown") {
        window.flags.fill(FLAG_STORED_UNKNOWN, range.first - window.first, range.end - window.first);
      } else if (range.block !== undefined && range.state === "stored") {
        const at = range.first - window.first;
        const count = range.end - range.first;
        for (let i = 0; i < count; i++) {
          if (this.codec.get(range.block, range.index + i) === 1) window.flags[at + i] = FLAG_STORED_ONE;
        }
      }
    }
  }

  /** Indexes of the blocks for these clusters that exist and lie, at least in part, within the file. */
  #readableBlocks(first: number, end: number): number[] {
    const { refcountsPerBlock } = this.#geometry;
    const lastBlock = Math.min(Math.ceil(end / refcountsPerBlock), this.presentEntries);
    const blocks: number[] = [];
    for (let index = Math.floor(first / refcountsPerBlock); index < lastBlock; index++) {
      const offset = this.blockOffset(index);
      if (offset !== 0 && offset < this.#fileSize && !this.isUnknown(index * refcountsPerBlock))
        blocks.push(index);
    }
    return blocks;
  }

  /** The clusters of [first, end), none of which has a readable block. */
  *#rangesWithoutBlocks(first: number, end: number): Generator<RefcountRange> {
    const { refcountsPerBlock } = this.#geometry;
    for (let at = first; at < end; ) {
      const state = this.isUnknown(at) ? "unknown" : "zero";
      let until = roundDown(at, refcountsPerBlock) + refcountsPerBlock;
      while (until < end && (this.isUnknown(until) ? "unknown" : "zero") === state)
        until += refcountsPerBlock;
      until = Math.min(until, end);
      const reason = state === "unknown" ? "its refcount block has an impossible offset" : undefined;
      yield { first: at, end: until, state, block: undefined, index: 0, reason };
      at = until;
    }
  }
}
