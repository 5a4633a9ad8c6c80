/**
 * Changes of an image's metadata that come about all at once. New tables and new refcounts are written into clusters
 * that nothing refers to, made durable, and held against each other; then one write of one sector, the first
 * of the header, switches to them. A power cut before that leaves the image as it was, one after it leaves it changed.
 * What the old tables occupied is free in the new refcounts.
 */

import { writeZeroBytes } from "../../storage/write-zeroes.ts";
import { changeFirstCluster, type HeaderChange } from "../header/change-first-cluster.ts";
import type { HeaderReplacement } from "../header/replace-first-cluster.ts";
import { prepareFirstCluster } from "../header/write-first-cluster.ts";
import { decodeImageLayout, readFirstCluster, type TableLocation } from "../image-layout.ts";
import type { OpenImage } from "../open-image.ts";
import { completeSnapshotTable } from "../snapshots/snapshot-tree.ts";
import type { WriteContext } from "../write-context.ts";
import { ShadowRefcounts } from "./shadow-refcounts.ts";
import { verifyTables } from "./verify-tables.ts";

export type { HeaderChange } from "../header/change-first-cluster.ts";

/** Memory for the refcount blocks of a transaction. */
const REFCOUNT_CACHE_BYTES: number = 4 * 2 ** 20;

export interface TransactionOptions {
  readonly signal?: AbortSignal | undefined;
}

/**
 * What is left to do when the new tables are in use: gives freed space back to the host, where the image was opened so. If
 * it fails, the change was made all the same.
 */
export type GiveBack = () => Promise<void>;

interface RunOptions extends TransactionOptions {
  /** Bits of a refcount afterwards; default: as many as now. */
  readonly refcountBits?: number | undefined;
  /** Write all refcount blocks anew, so that they lie together. Default false. */
  readonly rewriteRefcounts?: boolean | undefined;
  /** Give freed space back to the host. Default: as the image was opened. */
  readonly givesBack?: boolean | undefined;
}

export class MetadataTransaction {
  readonly image: OpenImage;
  readonly refcounts: ShadowRefcounts;
  readonly #context: WriteContext;
  readonly #signal: AbortSignal | undefined;

  private constructor(context: WriteContext, { signal, refcountBits, rewriteRefcounts }: RunOptions) {
    this.#context = context;
    this.#signal = signal;
    this.image = context.image;
    this.refcounts = new ShadowRefcounts({
      current: context.image.refcounts,
      refcountBits: refcountBits ?? context.image.layout.geometry.refcountBits,
      rewrite: rewriteRefcounts,
      storage: context.image.storage,
      write: (offset, bytes) => this.#writeNew(offset, bytes),
      prove: () => context.proof.proveSound(context.image, signal),
      cacheBytes: REFCOUNT_CACHE_BYTES,
    });
  }

  /**
   * Runs `work`, and switches to what it returns. Nobody else may change the image meanwhile, and everything must have
   * been flushed. If it fails, the image is as it was; only if the switch itself fails, nobody knows, and the image
   * takes no more changes. A change of nothing but the header's own fields costs no more than that. Returns what gives
   * freed space back to the host, to be called when nobody looks at the old tables any more.
   * @throws Qcow2Error "needs-repair" if the image's metadata turns out to be damaged, "limit-exceeded",
   *   "invalid-option" if names do not fit into the first cluster, "corrupt", "io"
   */
  static async run(
    context: WriteContext,
    work: (transaction: MetadataTransaction) => Promise<HeaderChange>,
    options: RunOptions = {},
  ): Promise<GiveBack> {
    const { storage } = context.image;
    const originalSize = await storage.size();
    const transaction = new MetadataTransaction(context, options);
    let header: HeaderReplacement;
    try {
      header = await transaction.#prepare(await work(transaction));
    } catch (error) {
      // What was written behind the end is of no use to anybody; the image itself is untouched.
      if ((await storage.size()) > originalSize) await storage.truncate(originalSize).catch(() => undefined);
      throw error;
    }
    try {
      await context.file.write("main-header", 0, header.sector);
      await context.file.flush();
    } catch (error) {
      context.file.refuse(error);
      throw error;
    }
    context.file.retire();
    const givesBack = options.givesBack ?? context.image.discard === "unmap";
    return async () => {
      if (givesBack && transaction.refcounts.isChanged) await transaction.refcounts.giveBackFreed();
    };
  }

  get signal(): AbortSignal | undefined {
    return this.#signal;
  }

  /** Throws the reason of the signal, if there is one and it was aborted. */
  throwIfAborted(): void {
    this.#signal?.throwIfAborted();
  }

  /** Writes `bytes` into new clusters in a row; returns their host offset. 0 if there is nothing to write. */
  async addTable(bytes: Uint8Array): Promise<number> {
    if (bytes.length === 0) return 0;
    const { clusterSize } = this.image.layout.geometry;
    const clusters = Math.ceil(bytes.length / clusterSize);
    const offset = (await this.refcounts.allocate(clusters)) * clusterSize;
    const whole = new Uint8Array(clusters * clusterSize);
    whole.set(bytes);
    await this.#writeNew(offset, whole);
    return offset;
  }

  /** Counts one reference less to the clusters that a table of `length` bytes at `offset` has. */
  async dropTable({ offset, length }: TableLocation): Promise<void> {
    if (length === 0) return;
    const { clusterSize } = this.image.layout.geometry;
    await this.refcounts.change(offset / clusterSize, Math.ceil(length / clusterSize), -1);
  }

  /**
   * Takes `count` new clusters in a row that read as zeroes; returns their host offset. They lie behind the end of the
   * file, or, in a storage that cannot grow, anywhere, and are written, unless they are to be marked as zeroes anyhow.
   */
  async addZeroClusters(count: number, { areMarked = false }: { areMarked?: boolean } = {}): Promise<number> {
    this.throwIfAborted();
    const { storage, layout } = this.image;
    const { clusterSize } = layout.geometry;
    if (storage.fixedSize === true) {
      const offset = (await this.refcounts.allocate(count)) * clusterSize;
      const length = count * clusterSize;
      this.#context.file.assertNoOverlap(offset, offset + length);
      if (!areMarked) await writeZeroBytes(storage, offset, length, this.#signal);
      return offset;
    }
    const first = await this.refcounts.allocateBehind(Math.ceil((await storage.size()) / clusterSize), count);
    const end = (first + count) * clusterSize;
    if ((await storage.size()) < end) await storage.truncate(end);
    return first * clusterSize;
  }

  /** Writes what remains, makes it durable and checks it; returns how to switch to it. */
  async #prepare(wanted: HeaderChange): Promise<HeaderReplacement> {
    const { storage } = this.image;
    const change = await this.#withCompleteSnapshots(wanted);
    const hasNewTables = this.refcounts.isChanged;
    const refcountTable = hasNewTables ? await this.refcounts.finish() : undefined;
    const replacement = changeFirstCluster(await readFirstCluster(storage), {
      refcountTable,
      refcountBits: this.refcounts.refcountBits,
      ...change,
    });
    if (hasNewTables) {
      await this.#context.file.flush();
      await this.#verify(replacement);
    }
    await prepareFirstCluster(
      (offset, bytes) => this.#context.file.write("main-header", offset, bytes),
      () => this.#context.file.flush(),
      replacement,
    );
    return replacement;
  }

  /** Version 3 wants them so. A change of nothing but the header leaves them. */
  async #withCompleteSnapshots(change: HeaderChange): Promise<HeaderChange> {
    const { version } = this.image.layout.header;
    const isDue = (change.version ?? version) >= 3 && (this.refcounts.isChanged || version < 3);
    if (change.snapshots !== undefined || !isDue) return change;
    return { ...change, snapshots: await completeSnapshotTable(this) };
  }

  /** What was written has to be what was meant, as the storage reads it. */
  async #verify({ bytes }: HeaderReplacement): Promise<void> {
    const { storage } = this.image;
    const layout = decodeImageLayout(bytes, await storage.size());
    await verifyTables(this.image, layout, this.#signal);
  }

  /** Guarded as guest data is: there must be no metadata of any kind where something new is written. */
  async #writeNew(offset: number, bytes: Uint8Array): Promise<void> {
    this.throwIfAborted();
    await this.#context.file.write("guest-data", offset, bytes);
  }
}
