/**
 * Changes of an image's metadata that come about all at once. New tables and new refcounts are written into clusters
 * that nothing refers to, made durable, and held against each other by a check; then one write of one sector of the
 * header switches to them. A power cut before that leaves the image as it was, one after it leaves it changed. What the
 * old tables occupied is free in the new refcounts.
 */
import { Qcow2Error } from "../../errors.ts";
import { HEADER_SIZE_AT, HEADER_V2_BYTES } from "../../format/header.ts";
import { L1_ENTRY_BYTES } from "../../format/l1-entry.ts";
import { viewOf, writeUint64 } from "../../format/uint64.ts";
import { readExactly } from "../../storage/read-exactly.ts";
import { checkNewMetadata } from "../check/check-new-metadata.ts";
import type { ImageLayout, TableLocation } from "../image-layout.ts";
import type { OpenImage } from "../open-image.ts";
import type { WriteContext } from "../write-context.ts";
import { ShadowRefcounts } from "./shadow-refcounts.ts";

/** Memory for the refcount blocks of a transaction. */
const REFCOUNT_CACHE_BYTES: number = 4 * 2 ** 20;

/** What the header says differently when the transaction is over. */
export interface HeaderChange {
  readonly virtualSize?: number;
  readonly l1Table?: TableLocation;
  readonly snapshots?: { readonly offset: number; readonly count: number };
}

export interface TransactionOptions {
  readonly signal?: AbortSignal | undefined;
}

export class MetadataTransaction {
  readonly image: OpenImage;
  readonly refcounts: ShadowRefcounts;
  readonly #context: WriteContext;
  readonly #signal: AbortSignal | undefined;

  private constructor(context: WriteContext, signal: AbortSignal | undefined) {
    this.#context = context;
    this.#signal = signal;
    this.image = context.image;
    this.refcounts = new ShadowRefcounts({
      current: context.image.refcounts,
      storage: context.image.storage,
      write: (offset, bytes) => this.#writeNew(offset, bytes),
      cacheBytes: REFCOUNT_CACHE_BYTES,
    });
  }

  /**
   * Runs `work`, and switches to what it returns. Nobody else may change the image meanwhile, and everything must have
   * been flushed. If it fails, the image is as it was; only if the switch itself fails, nobody knows, and the image
   * takes no more changes.
   * @throws Qcow2Error "needs-repair" if the image's metadata turns out to be damaged, "limit-exceeded", "corrupt", "io"
   */
  static async run(
    context: WriteContext,
    work: (transaction: MetadataTransaction) => Promise<HeaderChange>,
    { signal }: TransactionOptions = {},
  ): Promise<void> {
    const { storage } = context.image;
    const originalSize = await storage.size();
    const transaction = new MetadataTransaction(context, signal);
    let header: Uint8Array;
    try {
      header = await transaction.#prepare(await work(transaction));
    } catch (error) {
      // What was written behind the end is of no use to anybody; the image itself is untouched.
      if ((await storage.size()) > originalSize) await storage.truncate(originalSize).catch(() => undefined);
      throw error;
    }
    try {
      await context.file.write("main-header", HEADER_SIZE_AT, header);
      await storage.flush();
    } catch (error) {
      context.file.refuse(error);
      throw error;
    }
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

  /** Writes what remains, makes it durable and checks it; returns the header's bytes that switch to it. */
  async #prepare(change: HeaderChange): Promise<Uint8Array> {
    const { storage, layout } = this.image;
    const refcountTable = await this.refcounts.finish();
    await storage.flush();
    const header = new Uint8Array(HEADER_V2_BYTES - HEADER_SIZE_AT);
    await readExactly(storage, HEADER_SIZE_AT, header, "Header");
    const view = viewOf(header);
    const { l1Table = this.#currentL1(), virtualSize = layout.virtualSize } = change;
    const snapshots = change.snapshots ?? {
      offset: layout.snapshotsOffset,
      count: layout.header.snapshotCount,
    };
    writeUint64(view, 0, virtualSize);
    view.setUint32(12, l1Table.length / L1_ENTRY_BYTES);
    writeUint64(view, 16, l1Table.offset);
    writeUint64(view, 24, refcountTable.offset);
    view.setUint32(32, refcountTable.length / layout.geometry.clusterSize);
    view.setUint32(36, snapshots.count);
    writeUint64(view, 40, snapshots.offset);
    await this.#assertSound({
      ...layout,
      virtualSize,
      l1Table,
      refcountTable,
      snapshotsOffset: snapshots.offset,
      header: {
        ...layout.header,
        snapshotCount: snapshots.count,
        snapshotsOffset: BigInt(snapshots.offset),
      },
    });
    return header;
  }

  #currentL1(): TableLocation {
    const { offset, bytes } = this.image.mapping.l1;
    return { offset, length: bytes.length };
  }

  async #assertSound(layout: ImageLayout): Promise<void> {
    const { corruptions, checkErrors } = await checkNewMetadata(
      { storage: this.image.storage, layout },
      { signal: this.#signal },
    );
    if (corruptions + checkErrors === 0) return;
    throw new Qcow2Error(
      "needs-repair",
      "The image's metadata is damaged, and changing it could make that worse; it was left as it is. " +
        "A check tells what is wrong",
      { state: "corrupt" },
    );
  }

  /** Guarded as guest data is: there must be no metadata of any kind where something new is written. */
  async #writeNew(offset: number, bytes: Uint8Array): Promise<void> {
    this.throwIfAborted();
    await this.#context.file.write("guest-data", offset, bytes);
  }
}
