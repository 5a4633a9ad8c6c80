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
import type { GuardedFile } from "./guarded-file.ts";
import type { OpenImage } from "./open-image.ts";
import type { MetadataClass } from "./overlap-classes.ts";
import type { ReferenceProof } from "./proof/reference-proof.ts";
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
  readonly file: GuardedFile;
  /** Reads that may still look at clusters that were freed. */
  readonly reads: Epochs;
  /** Whoever frees has had it made before. */
  readonly proof: ReferenceProof;
  /** Clusters became free before this commit was made. Default false. */
  readonly hasFreed?: boolean | undefined;
  /** Called for each host cluster that nothing refers to any more, before its refcount says so. */
  readonly onUnused: (cluster: number) => void;
  /** Called for each host cluster whose refcount became 0: it may be allocated. */
  readonly onFreed: (cluster: number) => void;
}

export class MetadataCommit {
  readonly #options: MetadataCommitOptions;
  readonly #image: OpenImage;
  readonly #mutex = new Mutex();
  #pendingFrees: ClusterRun[] = [];
  #hasFreed: boolean;

  constructor(options: MetadataCommitOptions) {
    this.#options = options;
    this.#image = options.image;
    this.#hasFreed = options.hasFreed ?? false;
  }

  /** One reference less to each cluster of the run, as soon as nothing on disk refers to it any more. */
  free(first: number, count: number): void {
    addToRuns(this.#pendingFrees, first, count);
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

  /** True if a host cluster became free since the image was opened. */
  get hasFreed(): boolean {
    return this.#hasFreed;
  }

  /** Writes everything that is changed now, without waiting until it is durable. */
  write(): Promise<void> {
    return this.#mutex.run(() => this.#write(this.#image.durability.isOrdered));
  }

  /** Writes everything that is changed now; resolves when it, and all guest data written before, is durable. */
  flush(): Promise<void> {
    return this.#mutex.run(async () => {
      const { durability } = this.#image;
      const wasOrdered = durability.isOrdered;
      // From now on, so that whoever writes beside the first flush has an order by the time that it has succeeded.
      durability.isOrdered = true;
      await this.#write(wasOrdered);
      await this.#options.file.flush();
    });
  }

  /** Writes changed refcount blocks and table entries only, and makes them durable. */
  writeRefcounts(): Promise<void> {
    return this.#mutex.run(async () => {
      const isOrdered = this.#image.durability.isOrdered;
      await this.#writeRefcounts(isOrdered);
      await this.#barrier(isOrdered);
    });
  }

  /** Resolves when what was written so far is durable, in images that promise an order. */
  async barrier(): Promise<void> {
    await this.#barrier(this.#image.durability.isOrdered);
  }

  async #barrier(isOrdered: boolean): Promise<void> {
    if (isOrdered) await this.#options.file.flush();
  }

  async #write(isOrdered: boolean): Promise<void> {
    const { l2Slices, l1 } = this.#image.mapping;
    const slices = l2Slices.takeDirty();
    const entries = l1.takeDirty();
    const frees = this.#pendingFrees;
    this.#pendingFrees = [];
    try {
      await this.#writeRefcounts(isOrdered);
      if (slices.length > 0 || entries.length > 0 || frees.length > 0) {
        await this.#barrier(isOrdered);
        await this.#writeAll("active-l2", slices);
        if (entries.length > 0) await this.#barrier(isOrdered);
        await this.#writeAll("active-l1", entries);
      }
    } catch (error) {
      l2Slices.notWritten(slices);
      l1.notWritten(entries);
      this.#freeLater(frees);
      throw error;
    }
    l2Slices.written(slices);
    if (frees.length === 0) return;
    try {
      await this.#barrier(isOrdered);
      await this.#options.reads.drain();
      await this.#applyFrees(frees);
    } catch (error) {
      // Nothing on disk refers to these clusters any more; until another attempt succeeds they are leaked.
      this.#freeLater(frees);
      throw error;
    }
    await this.#writeRefcounts(isOrdered);
  }

  async #writeRefcounts(isOrdered: boolean): Promise<void> {
    const { blocks, table } = this.#image.refcounts;
    const copies: readonly TableCopy[] = blocks.takeDirty();
    const entries = table.takeDirty();
    try {
      await this.#writeAll("refcount-block", copies);
      if (entries.length > 0) await this.#barrier(isOrdered);
      await this.#writeAll("refcount-table", entries);
    } catch (error) {
      blocks.notWritten(copies);
      table.notWritten(entries);
      throw error;
    }
    blocks.written(copies);
  }

  /** `frees` did not come about; they wait for the next commit. */
  #freeLater(frees: readonly ClusterRun[]): void {
    this.#pendingFrees = this.#pendingFrees.concat(frees);
  }

  /** Empties `frees`; after a failure it holds exactly what was not done. */
  async #applyFrees(frees: ClusterRun[]): Promise<void> {
    if (this.#image.discard === "unmap" && this.#image.storage.punchHole !== undefined) {
      const unused: ClusterRun[] = [];
      try {
        await this.#decreaseAll(frees, unused);
        await this.#punch(unused);
      } finally {
        frees.push(...unused);
      }
    }
    await this.#decreaseAll(frees);
  }

  /** Counts one reference less for each run; with `unused`, last references are kept, and collected there. */
  async #decreaseAll(frees: ClusterRun[], unused?: ClusterRun[]): Promise<void> {
    const { refcounts } = this.#image;
    while (frees.length > 0) {
      const { block: blockIndex, run } = this.#takeFromOneBlock(frees);
      const uncounted = await refcounts
        .withBlock(blockIndex, (block) => this.#decreaseRefcounts(block, run, unused))
        .catch((error: unknown) => {
          frees.push(run);
          throw error;
        });
      if (uncounted !== undefined) throw usedButFree(uncounted * refcounts.geometry.clusterSize);
    }
  }

  /** Takes a run from the end of `frees`, or the part of it that one refcount block counts. */
  #takeFromOneBlock(frees: ClusterRun[]): { readonly block: number; readonly run: ClusterRun } {
    const { refcounts } = this.#image;
    const { first, count } = frees.pop() as ClusterRun;
    const block = refcounts.blockIndexOf(first);
    const blockEnd = (block + 1) * refcounts.geometry.refcountsPerBlock;
    if (first + count <= blockEnd) return { block, run: { first, count } };
    frees.push({ first: blockEnd, count: first + count - blockEnd });
    return { block, run: { first, count: blockEnd - first } };
  }

  /** Counts one reference less to each cluster; returns one that had none, if there is any. One synchronous step. */
  #decreaseRefcounts(
    block: CachedTable | undefined,
    { first, count }: ClusterRun,
    unused?: ClusterRun[],
  ): number | undefined {
    const { refcounts } = this.#image;
    if (block === undefined) return first;
    let uncounted: number | undefined;
    for (let cluster = first; cluster < first + count; cluster++) {
      const refcount = refcounts.codec.get(block.view, cluster % refcounts.geometry.refcountsPerBlock);
      if (refcount === 0) {
        uncounted ??= cluster;
        continue;
      }
      // There are more references than that says: the last of them would seem to be gone too soon.
      if (this.#options.proof.isSuspect(cluster)) continue;
      if (refcount === 1) this.#options.onUnused(cluster);
      if (refcount === 1 && unused !== undefined) {
        addToRuns(unused, cluster, 1);
        continue;
      }
      refcounts.setInBlock(block, cluster, 1, refcount - 1);
      if (refcount > 1) continue;
      this.#hasFreed = true;
      this.#options.onFreed(cluster);
    }
    return uncounted;
  }

  /**
   * Gives the space of clusters that nothing refers to back to the host. Their refcounts still stand, so that nobody
   * takes them meanwhile; a power cut leaves them leaked. It is a hint: a host that cannot do it keeps the space.
   */
  async #punch(runs: readonly ClusterRun[]): Promise<void> {
    const { storage, layout } = this.#image;
    const { clusterSize } = layout.geometry;
    await runBounded(PARALLEL_WRITES, runs, ({ first, count }) => {
      this.#options.file.assertNoOverlap(first * clusterSize, (first + count) * clusterSize);
      return storage.punchHole?.(first * clusterSize, count * clusterSize).catch(() => undefined);
    });
  }

  async #writeAll(
    metadataClass: MetadataClass,
    writes: readonly { readonly offset: number; readonly bytes: Uint8Array }[],
  ): Promise<void> {
    await runBounded(PARALLEL_WRITES, writes, ({ offset, bytes }) =>
      this.#options.file.writeAccepted(metadataClass, offset, bytes),
    );
  }
}

/** Appends clusters first .. first + count, to the last run if they continue it. */
function addToRuns(runs: ClusterRun[], first: number, count: number): void {
  const last = runs[runs.length - 1];
  if (last !== undefined && last.first + last.count === first) {
    runs[runs.length - 1] = { first: last.first, count: last.count + count };
  } else {
    runs.push({ first, count });
  }
}

function usedButFree(offset: number): Qcow2Error {
  return new Qcow2Error("corrupt", `The cluster at host offset ${offset} is in use, but its refcount is 0`, {
    structure: "refcount block",
    offset,
  });
}
