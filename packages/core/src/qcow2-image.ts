/** The public image class: it checks its arguments and its state, and hands the work to the engine. */
import type {
  Disk,
  DiskRange,
  DiskReadableOptions,
  DiskResizeOptions,
  DiskWritableOptions,
  Extent,
  WritableDisk,
} from "./disk/disk.ts";
import { assertDiskBytes, assertDiskRange } from "./disk/disk-range.ts";
import { diskReadable, diskWritable } from "./disk/disk-streams.ts";
import {
  type AmendOptions,
  amendImage,
  assertAmendment,
  changesImage,
  downgradeImage,
} from "./engine/amend/amend-image.ts";
import { Epochs, type RangeLock } from "./engine/async-lock.ts";
import { assertBackingFile, type BackingFileChange, changeBackingFile } from "./engine/backing-file.ts";
import { beginChangingMetadata, beginWriting } from "./engine/begin-writing.ts";
import { BitmapTracking } from "./engine/bitmaps/bitmap-tracking.ts";
import {
  type BitmapAction,
  type ChangeBitmapsOptions,
  changeBitmaps,
  type DirtyRanges,
  dirtyRangesOf,
} from "./engine/bitmaps/change-bitmaps.ts";
import { checkImage } from "./engine/check/check-image.ts";
import type { CheckOptions, CheckResult } from "./engine/check-result.ts";
import { CompressedWriter } from "./engine/compressed-writer.ts";
import { assertCreateOptions, createImage } from "./engine/create-image.ts";
import type { CreateOptions } from "./engine/create-options.ts";
import { cutOffUnusedEnd } from "./engine/cut-off-file.ts";
import { describeImage } from "./engine/describe-image.ts";
import { discardGuestRange } from "./engine/discard.ts";
import { mapGuest } from "./engine/guest-map.ts";
import type { GuestReader } from "./engine/guest-reader.ts";
import { inPlaceOffset, NotCopied, writeGuestBytes, writeGuestData } from "./engine/guest-writer.ts";
import type { Qcow2Info, SnapshotInfo } from "./engine/image-info.ts";
import { looksPreallocated } from "./engine/looks-preallocated.ts";
import { gatherTables, isScattered, makeEmpty } from "./engine/make-empty.ts";
import { closeImage, type OpenImage, type OpenOptions, openImage, reloadImage } from "./engine/open-image.ts";
import { rebuildRefcounts } from "./engine/repair/rebuild-refcounts.ts";
import { resizeImage } from "./engine/resize/resize-image.ts";
import {
  applySnapshot,
  type CreateSnapshotOptions,
  createSnapshot,
  deleteSnapshot,
} from "./engine/snapshots/change-snapshots.ts";
import type { SnapshotReference } from "./engine/snapshots/find-snapshot.ts";
import type { GiveBack, TransactionOptions } from "./engine/transaction/metadata-transaction.ts";
import { createRanges, createWriteContext, type WriteContext } from "./engine/write-context.ts";
import { zeroGuestRange } from "./engine/zero-writer.ts";
import { isQcow2Error, Qcow2Error } from "./errors.ts";
import { roundDown, roundUp } from "./format/geometry.ts";
import { denyReferences } from "./references/references.ts";
import type { StoredBytes } from "./storage/stored-bytes.ts";

export type { BackingFileChange } from "./engine/backing-file.ts";
export type { OpenOptions } from "./engine/open-image.ts";

export class Qcow2Image implements WritableDisk {
  readonly format = "qcow2";
  readonly name: string;
  readonly readOnly: boolean;
  #image: OpenImage;
  readonly #reads = new Epochs();
  /** Requests that change or flush the image; closing waits for them and for the reads. */
  readonly #changes = new Epochs();
  readonly #ranges: RangeLock;
  #writer: WriteContext | undefined;
  #compressed: CompressedWriter | undefined;
  #begun: Promise<void> | undefined;
  #hasBegun = false;
  /** Closing flushes what was changed in place, too, although no table waits to be written. */
  #hasUnflushedChanges = false;
  #preallocated: Promise<boolean> | undefined;
  /** Bitmaps that follow the changes, once there is one. */
  #tracking: BitmapTracking | undefined;
  #closing: Promise<void> | undefined;

  private constructor(image: OpenImage) {
    this.#image = image;
    this.#ranges = createRanges(image);
    this.#prepareToWrite();
    this.name = image.storage.name;
    this.readOnly = image.readOnly;
  }

  /**
   * Opens an image. On failure `options.storage` stays open and belongs to the caller; on success it is closed with
   * the image.
   * @throws Qcow2Error "not-qcow2", "unsupported-version", "unsupported-feature", "invalid-image", "truncated",
   *   "limit-exceeded", "unsafe-offset", "encrypted", "snapshot-not-found", "needs-repair" (for writing), and what
   *   `options.references` throws
   */
  static async open(options: OpenOptions): Promise<Qcow2Image> {
    return new Qcow2Image(await openImage(options, rebuildRefcounts));
  }

  /**
   * Makes `options.storage` a new, empty image and opens it for writing. Nothing is touched before all options are
   * found to be good and the backing file is open. The image is not durable before `flush` or `close`.
   * @throws Qcow2Error "invalid-option", and what opening throws
   */
  static async create(options: CreateOptions): Promise<Qcow2Image> {
    assertCreateOptions(options);
    const { backingFile, dataFile, codecs, storage } = options;
    const references = options.references ?? denyReferences();
    const backing =
      backingFile === undefined
        ? undefined
        : await references.openBackingFile({ ...backingFile, from: storage.name });
    try {
      await createImage(options);
      return await Qcow2Image.open({
        storage,
        codecs,
        durability: "on-close",
        references: {
          openBackingFile: async (reference) => backing ?? references.openBackingFile(reference),
          openDataFile: async (reference) => dataFile?.storage ?? references.openDataFile(reference),
        },
      });
    } catch (error) {
      await backing?.close();
      throw error;
    }
  }

  /** Virtual size in bytes: of the active disk, or of the snapshot that was opened. */
  get size(): number {
    return this.#image.size;
  }

  /** The backing disk; undefined without one, or if only metadata was opened. */
  get backing(): Disk | undefined {
    return this.#image.backing;
  }

  /** What the header, the snapshot table and the bitmap directory say. */
  info(): Qcow2Info {
    return describeImage(this.#image);
  }

  /**
   * Fills `into` with guest data from `offset`.
   * @throws Qcow2Error "out-of-range", "closed", "corrupt", "truncated", "codec-missing", "decompress-failed", "io"
   */
  async read(request: { readonly offset: number; readonly into: Uint8Array }): Promise<void> {
    assertDiskBytes(request.offset, request.into, this.size);
    this.#assertReadable();
    if (request.into.length === 0) return;
    const epoch = this.#reads.enter();
    try {
      await this.#image.reader.read(request.offset, request.into);
    } finally {
      this.#reads.leave(epoch);
    }
  }

  /**
   * Guest data as a stream; see {@link Disk.readable}.
   * @throws Qcow2Error "out-of-range", "closed"; the stream fails as {@link read} does
   */
  readable(options?: DiskReadableOptions): ReadableStream<Uint8Array<ArrayBuffer>> {
    this.#assertReadable();
    return diskReadable(this, options);
  }

  /** The extents of `range` over all layers of the chain; see {@link Disk.map}. It does not hold up changes made meanwhile. */
  map(range: DiskRange & { readonly signal?: AbortSignal | undefined } = {}): AsyncGenerator<Extent> {
    this.#assertReadable();
    const { dataStorage, backing } = this.#image;
    const resolve: GuestReader["resolve"] = (...range) =>
      this.#reads.run(() => this.#image.reader.resolve(...range));
    const answer = (): Promise<boolean> => {
      this.#preallocated ??= looksPreallocated(this.#image).catch((error: unknown) => {
        this.#preallocated = undefined;
        throw error;
      });
      return this.#preallocated;
    };
    return mapGuest(
      { resolve, dataStorage, backing, virtualSize: this.size, looksPreallocated: answer },
      range,
    );
  }

  /**
   * Checks the image's metadata: every refcount against every reference, flags, offsets and overlaps. Reads only; an
   * image that is open for writing is flushed first.
   */
  async check(options: CheckOptions = {}): Promise<CheckResult> {
    this.#assertOpen();
    return this.#changes.run(async () => {
      await this.#writer?.commit.flush();
      const { storage, layout, refcounts } = this.#image;
      // The table may have moved since the header was read.
      const refcountTable = { offset: refcounts.table.offset, length: refcounts.table.bytes.length };
      return checkImage({ storage, layout: { ...layout, refcountTable } }, options);
    });
  }

  /** Where the bytes of an extent of {@link map} lie until the chain is written to; undefined for zeroes and compressed data. */
  storedAt(extent: Extent): StoredBytes | undefined {
    const { kind, depth, hostOffset, length } = extent;
    if (depth > 0) return this.backing?.storedAt?.({ ...extent, depth: depth - 1 });
    if (kind !== "data" || hostOffset === undefined) return undefined;
    return { storage: this.#image.dataStorage, offset: hostOffset, length };
  }

  /**
   * Writes all of `from` at `offset`; `from` must not be changed before the promise settles.
   * @throws Qcow2Error "out-of-range", "read-only", "closed", "corrupt", "limit-exceeded", "io"
   */
  async write(request: { readonly offset: number; readonly from: Uint8Array }): Promise<void> {
    const { offset, from } = request;
    assertDiskBytes(offset, from, this.size);
    const hostOffset = this.#hostOffsetInPlace(offset, from.length);
    const writer = this.#writer as WriteContext;
    const range = hostOffset === undefined ? undefined : writer.ranges.tryEnter(offset, offset + from.length);
    if (hostOffset === undefined || range === undefined) {
      await this.#change(offset, from.length, (current) => writeGuestData(current, offset, from));
      return;
    }
    const epoch = this.#changes.enter();
    this.#hasUnflushedChanges = true;
    this.#tracking?.note(offset, offset + from.length);
    try {
      await writeGuestBytes(writer, hostOffset, from);
    } finally {
      // Also for those who flush while this is under way.
      this.#hasUnflushedChanges = true;
      writer.ranges.leave(range);
      if (writer.file.isRefusing) await writer.file.settled();
      this.#changes.leave(epoch);
    }
  }

  /**
   * Has the host copy what lies in a storage to whole clusters; false if it does not. What lies there must not be changed
   * before the promise settles.
   * @throws RangeError for parts of clusters; Qcow2Error as {@link write}
   */
  async writeStored(request: { readonly offset: number; readonly from: StoredBytes }): Promise<boolean> {
    const { offset, from } = request;
    assertDiskRange(offset, from.length, this.size);
    const { clusterSize } = this.#image.layout.geometry;
    if (offset % clusterSize !== 0 || from.length % clusterSize !== 0) {
      throw new RangeError(`Stored bytes take whole clusters, not ${from.length} bytes at offset ${offset}`);
    }
    try {
      await this.#change(offset, from.length, (current) => writeGuestData(current, offset, from));
      return true;
    } catch (error) {
      if (error instanceof NotCopied) return false;
      throw error;
    }
  }

  /**
   * Makes the range read as zeroes. With `unmap`, host clusters that it covers wholly are given up; without, they stay
   * reserved for it.
   * @throws Qcow2Error as {@link write}
   */
  async writeZeroes(request: {
    readonly offset: number;
    readonly length: number;
    readonly unmap?: boolean | undefined;
    readonly signal?: AbortSignal | undefined;
  }): Promise<void> {
    const { offset, length, unmap, signal } = request;
    signal?.throwIfAborted();
    await this.#change(offset, length, (writer) =>
      zeroGuestRange(writer, offset, offset + length, unmap ?? false, signal),
    );
  }

  /**
   * Gives up the whole clusters within the range (the cluster that the disk ends in counts as whole); the rest of the
   * range stays as it is. They read as zeroes afterwards, never as the backing file, unless `revealBacking` asks for
   * that. In a version 2 image with a backing file nothing is done: only {@link writeZeroes} can hide it there.
   * @throws Qcow2Error as {@link write}; the reason of `signal`, with everything before the abort done
   */
  async discard(request: {
    readonly offset: number;
    readonly length: number;
    readonly revealBacking?: boolean | undefined;
    readonly signal?: AbortSignal | undefined;
  }): Promise<void> {
    const { offset, length, revealBacking = false, signal } = request;
    signal?.throwIfAborted();
    await this.#change(offset, length, (writer) =>
      discardGuestRange(writer, offset, offset + length, { revealBacking, signal }),
    );
  }

  /**
   * Writes whole clusters in compressed form, those that do not become smaller uncompressed. Calls may overlap: clusters
   * are compressed at the same time and placed in the order of the disk and of the calls.
   * @throws Qcow2Error as {@link write}, and "codec-missing", "unsupported" with an external data file; RangeError if
   *   the range is not whole clusters (the last shorter at the end of the disk)
   */
  async writeCompressed(request: { readonly offset: number; readonly from: Uint8Array }): Promise<void> {
    const { offset, from } = request;
    assertDiskBytes(offset, from, this.size);
    const { clusterSize } = this.#image.layout.geometry;
    const isWhole = from.length % clusterSize === 0 || offset + from.length === this.size;
    if (offset % clusterSize !== 0 || from.length === 0 || !isWhole) {
      throw new RangeError(
        `Compressed writes take whole clusters, not ${from.length} bytes at offset ${offset}`,
      );
    }
    await this.#change(offset, from.length, () => (this.#compressed as CompressedWriter).write(offset, from));
  }

  /**
   * A stream that writes guest data; see {@link WritableDisk.writable}.
   * @throws Qcow2Error "out-of-range", "read-only", "closed"; the stream fails as {@link write} does
   */
  writable(options?: DiskWritableOptions): WritableStream<Uint8Array> {
    this.#assertReadable();
    return diskWritable(this, options);
  }

  /**
   * Keeps what the disk holds now as an internal snapshot. A power cut leaves the image with it or without it, never
   * in between.
   * @throws Qcow2Error "unsupported" with an external data file, "invalid-option" for an id that is taken,
   *   "limit-exceeded" if there are too many snapshots, or more users of a cluster than the refcounts can count,
   *   "needs-repair" if the metadata is damaged, "read-only", "closed", "io"
   */
  async createSnapshot(options: CreateSnapshotOptions): Promise<SnapshotInfo> {
    await this.#transform((writer) => createSnapshot(writer, options));
    return this.info().snapshots.at(-1) as SnapshotInfo;
  }

  /**
   * Makes the disk what it was when the snapshot was taken, its size included. What was written since is lost, unless
   * another snapshot keeps it. A power cut leaves the one disk or the other.
   * @throws Qcow2Error "snapshot-not-found", "unsupported" with an external data file or persistent bitmaps, and as
   *   {@link createSnapshot}
   */
  async applySnapshot(snapshot: SnapshotReference, options: TransactionOptions = {}): Promise<void> {
    await this.#transform((writer) => applySnapshot(writer, snapshot, options));
  }

  /**
   * Deletes an internal snapshot and frees what only it used.
   * @throws Qcow2Error "snapshot-not-found", "ambiguous-snapshot" if another one could be meant, and as
   *   {@link createSnapshot}
   */
  async deleteSnapshot(snapshot: SnapshotReference, options: TransactionOptions = {}): Promise<void> {
    await this.#transform((writer) => deleteSnapshot(writer, snapshot, options));
  }

  /**
   * Changes persistent bitmaps, one action after the other, all or none of them.
   * @throws Qcow2Error "invalid-option", "bitmap-not-found", "bitmap-in-use" for one that was not saved (it can only be
   *   removed), "unsupported" in version 2 images, and as {@link createSnapshot}
   */
  async changeBitmaps(actions: readonly BitmapAction[], options: ChangeBitmapsOptions = {}): Promise<void> {
    await this.#transform((writer) => changeBitmaps(writer, actions, options));
  }

  /**
   * The dirty ranges of a persistent bitmap as it is stored; for an image that is being written, as it was before.
   * @throws Qcow2Error "bitmap-not-found", "bitmap-in-use", "truncated", "io", "closed"
   */
  async dirtyRanges(name: string): Promise<DirtyRanges> {
    this.#assertOpen();
    return await dirtyRangesOf(this.#image, name);
  }

  /**
   * Changes the virtual size. What becomes visible reads as zeroes; what lies behind a smaller size is lost. Internal
   * snapshots keep their own size. A power cut leaves the one size or the other.
   * @throws Qcow2Error "invalid-option" for a size that is no multiple of 512 or too large, for a smaller one without
   *   `shrink`, or a preallocation of nothing; "unsupported" for snapshots in a version 2 image; and as
   *   {@link createSnapshot}
   */
  async resize(options: DiskResizeOptions): Promise<void> {
    await this.#transform((writer) => resizeImage(writer, options));
  }

  /**
   * Changes options that the image was created with. All are looked at before anything is changed; a power cut leaves
   * the image as it was, as it has to be, or between two of four steps, each of which is one change of the whole: the
   * options, the size, giving up the bitmaps, and the step down to version 2.
   * @throws Qcow2Error "invalid-option" for what the image cannot become, "limit-exceeded" if a cluster has more users
   *   than narrower refcounts can count, and as {@link createSnapshot}
   */
  async amend(options: AmendOptions): Promise<void> {
    this.#assertChangeable();
    assertAmendment(this.#image, options);
    if (changesImage(this.#image, options)) await this.#transform((writer) => amendImage(writer, options));
    const { size } = options;
    if (size !== undefined && size !== this.size) await this.resize({ ...options, size });
    if (options.version === 2 && this.#image.layout.header.version === 3) {
      const bitmaps = this.info().bitmaps.map(({ name }) => ({ kind: "remove" as const, name }));
      if (bitmaps.length > 0) await this.changeBitmaps(bitmaps, options);
      await this.#transform((writer) => downgradeImage(writer, options));
    }
  }

  /**
   * Records another backing file and its format, or none. No guest data is copied: what the image does not define reads
   * as the new backing file says. `disk` is read as that from then on, and closed with the image; without it the
   * backing file is opened through the references that the image was opened with, unless only metadata was.
   * @throws Qcow2Error "invalid-option" if the name does not fit, or with a raw external data file; what opening throws;
   *   and as {@link createSnapshot}
   */
  async setBackingFile(backing: BackingFileChange | undefined): Promise<void> {
    const { metadataOnly, references } = this.#image;
    assertBackingFile(this.#image, backing);
    this.#assertChangeable();
    const opened =
      metadataOnly || backing === undefined || backing.disk !== undefined
        ? undefined
        : await references.openBackingFile({ name: backing.name, format: backing.format, from: this.name });
    const before = this.#image.backing;
    const after = metadataOnly ? undefined : (backing?.disk ?? opened);
    try {
      await this.#transform((writer) => changeBackingFile(writer, backing), { backing: after });
    } catch (error) {
      await opened?.close();
      throw error;
    }
    if (before !== after) await before?.close();
  }

  /**
   * Gives up everything that the disk itself defines, so that it reads as its backing file does, or as zeroes without
   * one; the space goes back to the host. For an overlay whose content its backing file has by now, durably: see
   * `commitDisk` of `@qcow2/convert`. Internal snapshots keep theirs, and bitmaps stay as they are, because such a disk
   * reads the same afterwards. A power cut leaves the full image or the empty one.
   * @throws Qcow2Error "unsupported" with a raw external data file, and as {@link createSnapshot}
   */
  async makeEmpty(options: TransactionOptions = {}): Promise<void> {
    await this.#transform((writer) => makeEmpty(writer, options));
    try {
      if (isScattered(this.#image)) await this.#transform(gatherTables);
    } catch (error) {
      // It is empty, and its file only longer than it need be.
      if (!isQcow2Error(error)) throw error;
    }
  }

  /** Resolves when everything written before the call survives a power cut. */
  async flush(): Promise<void> {
    this.#assertOpen();
    await this.#changes.run(() => this.#flush());
  }

  async #flush(): Promise<void> {
    this.#hasUnflushedChanges = false;
    try {
      await this.#writer?.commit.flush();
    } catch (error) {
      this.#hasUnflushedChanges = true;
      throw error;
    }
  }

  /**
   * Closes the image, its backing chain and its data file, when the requests that are under way have ended and
   * everything that they wrote survives a power cut. Safe to call twice: both calls wait for the same end.
   */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    await Promise.all([this.#changes.drain(), this.#reads.drain()]);
    try {
      await this.#compressed?.padFile();
      // Freed clusters are counted as free only after the tables are written: hence more than one round.
      while (this.#hasUnflushedChanges || this.#writer?.commit.isDirty) await this.#flush();
      if (this.#writer !== undefined) await cutOffUnusedEnd(this.#writer);
      // Last of all: what the writer knows of the tables is not true any more afterwards.
      await this.#storeBitmaps();
    } finally {
      await closeImage(this.#image);
    }
  }

  /** Everything else is durable by now; an image that refuses changes keeps its bitmaps as in use. */
  async #storeBitmaps(): Promise<void> {
    const [tracking, writer] = [this.#tracking, this.#writer];
    if (tracking === undefined || writer === undefined || writer.file.isRefusing) return;
    try {
      const giveBack = await tracking.store(writer);
      await giveBack();
    } catch (error) {
      // They stay in use, which says so; what was written is there all the same.
      if (!isQcow2Error(error, "needs-repair")) throw error;
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** Runs a change of guest data with its clusters locked, and writes metadata out when there is much of it. */
  async #change(
    offset: number,
    length: number,
    work: (writer: WriteContext) => Promise<void>,
  ): Promise<void> {
    assertDiskRange(offset, length, this.size);
    this.#assertWritable();
    if (length === 0) return;
    await this.#changes.run(async () => {
      try {
        this.#writer?.file.assertSound();
        const { clusterSize } = this.#image.layout.geometry;
        // Before anything is waited for, so that requests for the same clusters come in the order of their calls.
        await this.#ranges.run(
          roundDown(offset, clusterSize),
          roundUp(offset + length, clusterSize),
          async () => {
            // A change of the metadata as a whole may have come before.
            assertDiskRange(offset, length, this.size);
            const writer = this.#assertWritable();
            if (!this.#hasBegun) await this.#begin(writer);
            this.#tracking?.note(offset, offset + length);
            await work(writer);
          },
        );
        if (this.#writer?.commit.underPressure) await this.#writer.commit.write();
      } finally {
        this.#hasUnflushedChanges = true;
        await this.#writer?.file.settled();
      }
    });
  }

  /** Runs a change of the metadata as a whole, with nothing else under way, and goes on with what it left. */
  async #transform(
    work: (writer: WriteContext) => Promise<GiveBack>,
    replaced: Partial<Pick<OpenImage, "backing">> = {},
  ): Promise<void> {
    this.#assertChangeable();
    await this.#changes.run(() =>
      this.#ranges.run(0, Number.MAX_SAFE_INTEGER, async () => {
        const writer = this.#assertChangeable();
        writer.file.assertSound();
        // Freed clusters are counted as free only after the tables are written: hence more than one round.
        do await this.#flush();
        while (writer.commit.isDirty);
        const tracking = this.#tracking;
        if (tracking !== undefined) await this.#replaceMetadata(writer, () => tracking.store(writer));
        else if (this.#hasBegun && this.#image.bitmaps.length > 0) await this.#forgetTables();
        await this.#replaceMetadata(this.#assertChangeable(), work, replaced);
      }),
    );
  }

  /** Goes on with what `work` has switched to. */
  async #replaceMetadata(
    writer: WriteContext,
    work: (writer: WriteContext) => Promise<GiveBack>,
    replaced: Partial<Pick<OpenImage, "backing">> = {},
  ): Promise<void> {
    let giveBack: GiveBack;
    try {
      await beginChangingMetadata(writer);
      giveBack = await work(writer);
    } finally {
      await writer.file.settled();
    }
    try {
      await this.#forgetTables(replaced);
    } catch (error) {
      writer.file.refuse(error);
      throw error;
    }
    // Until they have ended, reads that began before look at the old tables.
    await this.#reads.drain();
    await giveBack();
  }

  /** Reads again what the image file says, with everything flushed and nothing under way. */
  async #forgetTables(replaced: Partial<Pick<OpenImage, "backing">> = {}): Promise<void> {
    this.#image = await reloadImage({ ...this.#image, ...replaced });
    this.#prepareToWrite();
  }

  #prepareToWrite(): void {
    this.#begun = undefined;
    this.#hasBegun = false;
    this.#preallocated = undefined;
    this.#tracking = undefined;
    if (this.#image.readOnly) return;
    this.#writer = createWriteContext(this.#image, { ranges: this.#ranges, reads: this.#reads });
    this.#compressed = new CompressedWriter(this.#writer);
  }

  /** Where a write may go as it is, without a look at anything but a resident table; undefined if it may not. */
  #hostOffsetInPlace(offset: number, length: number): number | undefined {
    if (!this.#hasBegun || length === 0 || this.#closing !== undefined) return undefined;
    assertDiskRange(offset, length, this.size);
    return inPlaceOffset(this.#writer as WriteContext, offset, offset + length);
  }

  /** Before the first change; tried again by the next one if it fails. */
  #begin(writer: WriteContext): Promise<void> {
    const tracking = BitmapTracking.of(this.#image);
    this.#begun ??= beginWriting(writer).then(
      () => {
        this.#tracking = tracking;
        this.#hasBegun = true;
      },
      (error: unknown) => {
        this.#begun = undefined;
        throw error;
      },
    );
    return this.#begun;
  }

  #assertWritable(): WriteContext {
    this.#assertReadable();
    return this.#assertChangeable();
  }

  /** For changes of the metadata, which images that were opened for nothing else take, too. */
  #assertChangeable(): WriteContext {
    this.#assertOpen();
    if (this.#writer !== undefined) return this.#writer;
    throw new Qcow2Error("read-only", `${this.name} is open read-only`, { name: this.name });
  }

  #assertOpen(): void {
    if (this.#closing !== undefined)
      throw new Qcow2Error("closed", `${this.name} is closed`, { name: this.name });
  }

  #assertReadable(): void {
    this.#assertOpen();
    if (this.#image.metadataOnly) {
      throw new Qcow2Error("unsupported", `${this.name} was opened for its metadata only`, {
        operation: "read guest data",
      });
    }
  }
}
