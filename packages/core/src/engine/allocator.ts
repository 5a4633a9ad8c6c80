/** Finds free host clusters and counts the first reference to them (specification: "Host cluster management"). */
import { assert, Qcow2Error } from "../errors.ts";
import { HEADER_REFCOUNT_TABLE_AT } from "../format/header.ts";
import { REFCOUNT_TABLE_ENTRY_BYTES, setRefcountTableEntry } from "../format/refcount-entry.ts";
import { viewOf, writeUint64 } from "../format/uint64.ts";
import { MAX_HOST_OFFSET_BITS, MAX_REFCOUNT_TABLE_BYTES } from "../limits.ts";
import { endClusterOf, noSpace } from "./fixed-size.ts";
import type { GuardedFile } from "./guarded-file.ts";
import type { MetadataCommit } from "./metadata-commit.ts";
import type { OpenImage } from "./open-image.ts";
import type { ReferenceProof } from "./proof/reference-proof.ts";
import { ResidentTable } from "./resident-table.ts";
import type { CachedTable } from "./table-cache.ts";

/** Host clusters first .. first + count, contiguous. */
export interface AllocatedClusters {
  readonly first: number;
  readonly count: number;
}

/**
 * All methods that allocate must run one at a time (the caller holds the allocation mutex). A cluster is free if its
 * refcount is 0, and refcounts only fall once no table on disk refers to the cluster, so that free means free. What the
 * refcounts said when the image was opened is held against all references before the first cluster is taken.
 */
export class Allocator {
  readonly #image: OpenImage;
  readonly #file: GuardedFile;
  readonly #commit: MetadataCommit;
  readonly #proof: ReferenceProof;
  /** No cluster before this one is free. */
  #firstMaybeFree = 0;
  /** Clusters of a storage that cannot grow; without an end where it can. */
  #endCluster: number | undefined;
  /** Where the next compressed cluster may begin, within a cluster that has room left; 0 if there is none. */
  #freeByte = 0;

  constructor(options: {
    readonly image: OpenImage;
    readonly file: GuardedFile;
    readonly commit: MetadataCommit;
    readonly proof: ReferenceProof;
  }) {
    this.#image = options.image;
    this.#file = options.file;
    this.#commit = options.commit;
    this.#proof = options.proof;
  }

  /** A cluster's refcount fell to 0. */
  noteFreed(cluster: number): void {
    this.#firstMaybeFree = Math.min(this.#firstMaybeFree, cluster);
  }

  /** A cluster has lost its last reference: nothing more may be put into it before it is allocated anew. */
  noteUnused(cluster: number): void {
    if (this.#freeByte > 0 && this.#clusterOf(this.#freeByte) === cluster) this.#freeByte = 0;
  }

  /**
   * Allocates up to `wanted` contiguous clusters, at least one, with a refcount of 1.
   * @throws Qcow2Error "io" if a storage of fixed size is full, "limit-exceeded" if the image cannot grow any more, "needs-repair" if its refcounts are not to be
   *   written
   */
  async allocate(wanted: number): Promise<AllocatedClusters> {
    const { refcounts } = this.#image;
    await this.#proof.proveWritable(this.#image);
    this.#endCluster ??= await endClusterOf(this.#image.storage, this.#image.layout.geometry.clusterSize);
    for (let cluster = this.#firstMaybeFree; ; ) {
      const blockIndex = refcounts.blockIndexOf(cluster);
      if (blockIndex >= refcounts.table.entries) {
        await this.#growRefcountTable();
        continue;
      }
      const from = cluster;
      const found = await refcounts.withBlock(blockIndex, (block) =>
        block === undefined ? this.#addRefcountBlock(blockIndex, from) : this.#takeFree(block, from, wanted),
      );
      if (found.count > 0) return found;
      cluster = found.first;
    }
  }

  /** Takes the first free run from `cluster` on in one block; with a count of 0, `first` is where to go on looking. */
  #takeFree(block: CachedTable, cluster: number, wanted: number): AllocatedClusters {
    const { codec, geometry } = this.#image.refcounts;
    const { refcountsPerBlock } = geometry;
    const start = cluster % refcountsPerBlock;
    const isTaken = (at: number): boolean =>
      codec.get(block.view, at) !== 0 || this.#isUncounted(cluster - start + at);
    let index = start;
    while (index < refcountsPerBlock && isTaken(index)) index++;
    // One at least, so that a storage that is full is met below.
    const room = Math.max((this.#endCluster ?? Infinity) - (cluster - start + index), 1);
    const limit = Math.min(index + Math.min(wanted, room), refcountsPerBlock);
    let end = index;
    while (end < limit && !isTaken(end)) end++;
    const first = cluster - start + index;
    const count = end - index;
    if (count > 0) {
      this.#assertAllocatable(first, count);
      this.#image.refcounts.setInBlock(block, first, count, 1);
    }
    this.#goOnFrom(cluster, first + count);
    return { first, count };
  }

  /** Clusters `from` .. `next` are in use: the next search passes them over, unless one before them was freed meanwhile. */
  #goOnFrom(from: number, next: number): void {
    if (this.#firstMaybeFree === from) this.#firstMaybeFree = next;
  }

  /**
   * Allocates `length` bytes (at most a cluster) for compressed data, after the last ones where that is possible.
   * Every host cluster that the bytes touch counts one reference more. Returns a host byte offset.
   */
  async allocateBytes(length: number): Promise<number> {
    const { clusterSize } = this.#image.layout.geometry;
    assert(length > 0 && length <= clusterSize, `compressed length ${length}`);
    const offset = (await this.#continueBytes(length)) ?? (await this.allocate(1)).first * clusterSize;
    const end = offset + length;
    this.#freeByte = end % clusterSize === 0 ? 0 : end;
    return offset;
  }

  /** Tries to place `length` bytes where the last compressed cluster ended. */
  async #continueBytes(length: number): Promise<number | undefined> {
    const offset = this.#freeByte;
    if (offset === 0) return undefined;
    const { refcounts, layout } = this.#image;
    const cluster = this.#clusterOf(offset);
    const room = (cluster + 1) * layout.geometry.clusterSize - offset;
    const isLonger = length > room;
    if (isLonger && !(await this.#allocateExactly(cluster + 1))) return undefined;
    let isCounted = false;
    try {
      isCounted = await refcounts.withBlock(refcounts.blockIndexOf(cluster), (block) => {
        // It may have been given up meanwhile, or be shared by as many as its refcount can say.
        if (block === undefined || this.#freeByte !== offset) return false;
        const refcount = this.#refcountIn(block, cluster);
        if (refcount === 0 || refcount >= refcounts.codec.maximum) return false;
        refcounts.setInBlock(block, cluster, 1, refcount + 1);
        return true;
      });
    } finally {
      if (isLonger && !isCounted) this.#commit.free(cluster + 1, 1);
    }
    return isCounted ? offset : undefined;
  }

  #refcountIn(block: CachedTable, cluster: number): number {
    const { codec, geometry } = this.#image.refcounts;
    return codec.get(block.view, cluster % geometry.refcountsPerBlock);
  }

  async #allocateExactly(cluster: number): Promise<boolean> {
    const { refcounts } = this.#image;
    // There may be room elsewhere.
    if (this.#proof.isSuspect(cluster) || cluster >= (this.#endCluster ?? Infinity)) return false;
    return await refcounts.withBlock(refcounts.blockIndexOf(cluster), (block) => {
      if (block === undefined || this.#refcountIn(block, cluster) !== 0) return false;
      this.#assertAllocatable(cluster, 1);
      refcounts.setInBlock(block, cluster, 1, 1);
      return true;
    });
  }

  /** Puts a new refcount block at `cluster`, which it counts itself; the search goes on behind it. */
  #addRefcountBlock(blockIndex: number, cluster: number): AllocatedClusters {
    const { refcounts, layout } = this.#image;
    if (this.#isUncounted(cluster)) {
      this.#goOnFrom(cluster, cluster + 1);
      return { first: cluster + 1, count: 0 };
    }
    this.#assertAllocatable(cluster, 1);
    const offset = cluster * layout.geometry.clusterSize;
    const block = refcounts.blocks.addNew(offset);
    refcounts.setInBlock(block, cluster, 1, 1);
    refcounts.setBlockOffset(blockIndex, offset);
    this.#file.metadata?.add("refcount-block", cluster);
    this.#goOnFrom(cluster, cluster + 1);
    return { first: cluster + 1, count: 0 };
  }

  /**
   * Moves the refcount table to a larger area behind everything that it counts today: blocks for the new area first,
   * then the table. Only when all of that is durable does the header switch to it.
   */
  async #growRefcountTable(): Promise<void> {
    const { refcounts, layout } = this.#image;
    await this.#commit.writeRefcounts();
    const { clusterSize, refcountsPerBlock } = layout.geometry;
    const oldTable = refcounts.table;
    const start = oldTable.entries * refcountsPerBlock;
    const { tableClusters, blocks } = planTableGrowth(oldTable.entries, clusterSize, refcountsPerBlock);
    if (tableClusters * clusterSize > MAX_REFCOUNT_TABLE_BYTES) {
      throw new Qcow2Error(
        "limit-exceeded",
        "The image cannot grow any more: its refcount table is at its limit",
        {
          what: "refcount table bytes",
          found: tableClusters * clusterSize,
          maximum: MAX_REFCOUNT_TABLE_BYTES,
        },
      );
    }
    this.#assertAllocatable(start, blocks + tableClusters);
    const table = new ResidentTable(
      new Uint8Array(tableClusters * clusterSize),
      (start + blocks) * clusterSize,
    );
    table.bytes.set(oldTable.bytes);
    for (let index = 0; index < blocks; index++) {
      const firstCounted = start + index * refcountsPerBlock;
      const counted = Math.min(refcountsPerBlock, start + blocks + tableClusters - firstCounted);
      const block = refcounts.blocks.addNew((start + index) * clusterSize);
      refcounts.setInBlock(block, firstCounted, counted, 1);
      setRefcountTableEntry(table.view, oldTable.entries + index, block.offset);
    }
    await this.#file.write("refcount-table", table.offset, table.bytes);
    await this.#commit.writeRefcounts();
    const switchover = new Uint8Array(12);
    writeUint64(viewOf(switchover), 0, table.offset);
    viewOf(switchover).setUint32(8, tableClusters);
    await this.#file.write("main-header", HEADER_REFCOUNT_TABLE_AT, switchover);
    await this.#commit.barrier();
    refcounts.replaceTable(table);
    // Not before: if any of that failed, the clusters are free still, and the next try takes them.
    for (let index = 0; index < blocks; index++) this.#file.metadata?.add("refcount-block", start + index);
    this.#file.metadata?.moveRefcountTable(table.offset, table.offset + table.bytes.length);
    this.#commit.free(this.#clusterOf(oldTable.offset), oldTable.bytes.length / clusterSize);
  }

  /**
   * True if a cluster with a refcount of 0 is in use all the same: it is passed over. Where it is metadata the image is
   * marked as corrupt, as it would be if it had been taken.
   */
  #isUncounted(cluster: number): boolean {
    if (!this.#proof.isSuspect(cluster)) return false;
    const { clusterSize } = this.#image.layout.geometry;
    this.#file.assertNoOverlap(cluster * clusterSize, (cluster + 1) * clusterSize);
    return true;
  }

  #clusterOf(offset: number): number {
    return Math.floor(offset / this.#image.layout.geometry.clusterSize);
  }

  /** Clusters first .. first + count lie where a cluster can be addressed, and are as free as their refcounts say. */
  #assertAllocatable(first: number, count: number): void {
    const { clusterSize } = this.#image.layout.geometry;
    const end = (first + count) * clusterSize;
    this.#assertHostOffset(end);
    if (first + count > (this.#endCluster ?? Infinity)) throw noSpace(this.#image.storage.name);
    for (let cluster = first; this.#proof.hasSuspects && cluster < first + count; cluster++) {
      if (this.#proof.isSuspect(cluster)) throw usedButFree(cluster * clusterSize);
    }
    this.#file.assertNoOverlap(first * clusterSize, end);
  }

  /** Compressed descriptors have fewer bits for offsets than standard ones; whoever writes those checks that, too. */
  #assertHostOffset(end: number): void {
    const maximum = Math.min(2 ** MAX_HOST_OFFSET_BITS, Number.MAX_SAFE_INTEGER);
    if (end <= maximum) return;
    throw new Qcow2Error("limit-exceeded", "The image file cannot grow any more", {
      what: "host offset",
      found: end,
      maximum,
    });
  }
}

function usedButFree(offset: number): Qcow2Error {
  return new Qcow2Error("corrupt", `The cluster at host offset ${offset} is in use, but its refcount is 0`, {
    structure: "refcount block",
    offset,
  });
}

/** How many clusters a larger refcount table takes, and how many blocks count it and themselves. */
function planTableGrowth(
  oldEntries: number,
  clusterSize: number,
  refcountsPerBlock: number,
): { readonly tableClusters: number; readonly blocks: number } {
  let blocks = 1;
  for (;;) {
    // Half as much again, so that growing by and by costs time in proportion to what is written.
    const roomier = Math.min(
      Math.ceil(oldEntries * 1.5),
      MAX_REFCOUNT_TABLE_BYTES / REFCOUNT_TABLE_ENTRY_BYTES,
    );
    const entries = Math.max(oldEntries + blocks, roomier);
    const tableClusters = Math.ceil((entries * REFCOUNT_TABLE_ENTRY_BYTES) / clusterSize);
    const needed = Math.ceil((blocks + tableClusters) / refcountsPerBlock);
    if (needed <= blocks) return { tableClusters, blocks };
    blocks = needed;
  }
}
