/**
 * Writes changed metadata in an order that leaves an intact image wherever a power cut falls:
 *
 * 1. refcount blocks that count more references, and guest data (written before); then refcount table entries,
 * 2. L2 tables that refer to them; then L1 entries that refer to new L2 tables,
 * 3. only then refcounts that count fewer references, so that a freed cluster is not used again while anything on
 *    disk may still refer to it.
 *
 * What is written are copies taken at one moment, so that entries linked meanwhile do not reach the disk before the
 * data that they point to.
 */
import { Qcow2Error } from "../errors.ts";
import { type Epochs, Mutex } from "./async-lock.ts";
import { runBounded } from "./bounded.ts";
import type { OpenImage } from "./open-image.ts";
import type { CachedTable, TableCopy } from "./table-cache.ts";

/** Table writes under way at once. */
const PARALLEL_WRITES = 8;
/** Runs of freed clusters that may wait for a commit. */
const MAX_PENDING_FREES = 65536;

/** Host clusters first .. first + count. */
interface ClusterRun {
  readonly first: number;
  readonly count: number;
}

export interface MetadataCommitOptions {
  readonly image: OpenImage;
  /** Reads that may still look at clusters that were freed. */
  readonly reads: Epochs;
  /** Called for each host cluster whose refcount became 0. */
  readonly onFreed: (cluster: number) => void;
}

export class MetadataCommit {
  readonly #options: MetadataCommitOptions;
  readonly #image: OpenImage;
  readonly #mutex = new Mutex();
  #pendingFrees: ClusterRun[] = [];

  constructor(options: MetadataCommitOptions) {
    this.#options = options;
    this.#image = options.image;
  }

  /** One reference less to each cluster of the run, as soon as nothing on disk refers to it any more. */
  free(first: number, count: number): void {
    this.#pendingFrees.push({ first, count });
  }

  /** True if so much waits to be written that it should be before more work is taken on. */
  get underPressure(): boolean {
    const { mapping, refcounts } = this.#image;
    return (
      mapping.l2Slices.underPressure ||
      refcounts.blocks.underPressure ||
      this.#pendingFrees.length > MAX_PENDING_FREES
    );
  }

  /** True if something in memory is not yet on disk. */
  get isDirty(): boolean {
    const { mapping, refcounts } = this.#image;
    return (
      mapping.l2Slices.dirtyCount > 0 ||
      mapping.l1.isDirty ||
      refcounts.blocks.dirtyCount > 0 ||
      refcounts.table.isDirty ||
      this.#pendingFrees.length > 0
    );
  }

  /** Writes everything that is changed now, without waiting until it is durable. */
  write(): Promise<void> {
    return this.#mutex.run(() => this.#write());
  }

  /** Writes everything that is changed now; resolves when it, and all guest data written before, is durable. */
  flush(): Promise<void> {
    return this.#mutex.run(async () => {
      await this.#write();
      await this.#flushStorages();
    });
  }

  /** Writes changed refcount blocks and table entries only, and makes them durable. */
  writeRefcounts(): Promise<void> {
    return this.#mutex.run(async () => {
      await this.#writeRefcounts();
      await this.barrier();
    });
  }

  /** Resolves when what was written so far is durable, in images that promise an order. */
  async barrier(): Promise<void> {
    if (this.#image.durability === "crash-safe") await this.#flushStorages();
  }

  async #write(): Promise<void> {
    const { l2Slices, l1 } = this.#image.mapping;
    const slices = l2Slices.takeDirty();
    const entries = l1.takeDirty();
    const frees = this.#pendingFrees;
    this.#pendingFrees = [];
    try {
      await this.#writeRefcounts();
      if (slices.length > 0 || entries.length > 0 || frees.length > 0) {
        await this.barrier();
        await this.#writeAll(slices);
        if (entries.length > 0) await this.barrier();
        await this.#writeAll(entries);
      }
    } catch (error) {
      l2Slices.notWritten(slices);
      l1.notWritten(entries);
      this.#pendingFrees.push(...frees);
      throw error;
    }
    l2Slices.written(slices);
    if (frees.length === 0) return;
    await this.barrier();
    await this.#options.reads.drain();
    await this.#applyFrees(frees);
    await this.#writeRefcounts();
  }

  async #writeRefcounts(): Promise<void> {
    const { blocks, table } = this.#image.refcounts;
    const copies: readonly TableCopy[] = blocks.takeDirty();
    const entries = table.takeDirty();
    try {
      await this.#writeAll(copies);
      if (entries.length > 0) await this.barrier();
      await this.#writeAll(entries);
    } catch (error) {
      blocks.notWritten(copies);
      table.notWritten(entries);
      throw error;
    }
    blocks.written(copies);
  }

  async #applyFrees(frees: ClusterRun[]): Promise<void> {
    while (frees.length > 0) {
      const run = frees.pop() as ClusterRun;
      try {
        await this.#decreaseRefcounts(run);
      } catch (error) {
        // Nothing on disk refers to these clusters any more; until another attempt succeeds they are leaked.
        this.#pendingFrees.push(run, ...frees);
        throw error;
      }
    }
  }

  async #decreaseRefcounts(run: ClusterRun): Promise<void> {
    const { refcounts } = this.#image;
    const { refcountsPerBlock } = refcounts.geometry;
    for (let cluster = run.first; cluster < run.first + run.count; ) {
      const blockIndex = refcounts.blockIndexOf(cluster);
      const end = Math.min(run.first + run.count, (blockIndex + 1) * refcountsPerBlock);
      const start = cluster;
      await refcounts.withBlock(blockIndex, (block) => {
        for (let index = start; index < end; index++) this.#decreaseRefcount(block, index);
      });
      cluster = end;
    }
  }

  #decreaseRefcount(block: CachedTable | undefined, cluster: number): void {
    const { refcounts } = this.#image;
    const index = cluster % refcounts.geometry.refcountsPerBlock;
    const refcount = block === undefined ? 0 : refcounts.codec.get(block.view, index);
    if (block === undefined || refcount === 0) {
      const offset = cluster * refcounts.geometry.clusterSize;
      throw new Qcow2Error(
        "corrupt",
        `The cluster at host offset ${offset} is in use, but its refcount is 0`,
        {
          structure: "refcount block",
          offset,
        },
      );
    }
    refcounts.setInBlock(block, cluster, 1, refcount - 1);
    if (refcount === 1) this.#options.onFreed(cluster);
  }

  async #writeAll(writes: readonly { readonly offset: number; readonly bytes: Uint8Array }[]): Promise<void> {
    await runBounded(PARALLEL_WRITES, writes, ({ offset, bytes }) =>
      this.#image.storage.write(offset, bytes),
    );
  }

  async #flushStorages(): Promise<void> {
    const { storage, dataStorage } = this.#image;
    if (dataStorage !== storage) await dataStorage.flush();
    await storage.flush();
  }
}
