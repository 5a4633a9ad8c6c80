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
import { assertBackingFile, type BackingFileChange, changeBackingFile } from "./engine/backing-file.ts";
import {
  type BitmapAction,
  type ChangeBitmapsOptions,
  changeBitmaps,
  type DirtyRanges,
  dirtyRangesOf,
} from "./engine/bitmaps/change-bitmaps.ts";
import { checkImage } from "./engine/check/check-image.ts";
import type { CheckOptions, CheckResult } from "./engine/check-result.ts";
import { assertCreateOptions, createImage } from "./engine/create-image.ts";
import type { CreateOptions } from "./engine/create-options.ts";
import { describeImage } from "./engine/describe-image.ts";
import { discardGuestRange } from "./engine/discard.ts";
import { mapGuest } from "./engine/guest-map.ts";
import type { GuestReader } from "./engine/guest-reader.ts";
import { NotCopied, writeGuestData } from "./engine/guest-writer.ts";
import type { Qcow2Info, SnapshotInfo } from "./engine/image-info.ts";
import { ImageRequests } from "./engine/image-requests.ts";
import { prepareMap } from "./engine/looks-preallocated.ts";
import { gatherTables, isScattered, makeEmpty } from "./engine/make-empty.ts";
import { type OpenImage, type OpenOptions, openImage } from "./engine/open-image.ts";
import { rebuildRefcounts } from "./engine/repair/rebuild-refcounts.ts";
import { resizeImage } from "./engine/resize/resize-image.ts";
import {
  applySnapshot,
  type CreateSnapshotOptions,
  createSnapshot,
  deleteSnapshot,
} from "./engine/snapshots/change-snapshots.ts";
import type { SnapshotReference } from "./engine/snapshots/find-snapshot.ts";
import type { TransactionOptions } from "./engine/transaction/metadata-transaction.ts";
import { zeroGuestRange } from "./engine/zero-writer.ts";
import { isQcow2Error } from "./errors.ts";
import { denyReferences, type References } from "./references/references.ts";
import type { Storage } from "./storage/storage.ts";
import type { StoredBytes } from "./storage/stored-bytes.ts";

export type { BackingFileChange } from "./engine/backing-file.ts";
export type { OpenOptions } from "./engine/open-image.ts";

export class Qcow2Image implements WritableDisk {
  readonly format = "qcow2";
  readonly name: string;
  readonly readOnly: boolean;
  readonly #requests: ImageRequests;
  /** Whether an image looks preallocated is asked once, as long as its tables stay. */
  #preallocated: { readonly image: OpenImage; readonly answer: Promise<boolean> } | undefined;

  private constructor(image: OpenImage) {
    this.#requests = new ImageRequests(image);
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
   * found to be good and the backing file is open. The image counts from the first `flush`, or `close`, on: a power cut
   * before it may leave anything, one after it everything that was flushed.
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
        // The disk that was opened is the answer once: another name is asked for like any other.
        backing: backing === undefined ? undefined : async () => backing,
        references: dataFile === undefined ? references : withDataFile(references, dataFile.storage),
      });
    } catch (error) {
      await backing?.close();
      throw error;
    }
  }

  get #image(): OpenImage {
    return this.#requests.image;
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
    this.#requests.assertReadable();
    if (request.into.length > 0) await this.#requests.read(request.offset, request.into);
  }

  /**
   * Guest data as a stream; see {@link Disk.readable}.
   * @throws Qcow2Error "out-of-range", "closed"; the stream fails as {@link read} does
   */
  readable(options?: DiskReadableOptions): ReadableStream<Uint8Array<ArrayBuffer>> {
    this.#requests.assertReadable();
    return diskReadable(this, options);
  }

  /**
   * The extents of `range` over all layers of the chain; see {@link Disk.map}. It does not hold up changes made meanwhile:
   * what it has not come to yet is as they left it. It fails where the disk is replaced as a whole between two steps: by
   * another size or backing file, by applying a snapshot, or by {@link makeEmpty}.
   * @throws Qcow2Error "closed", "changed", and as {@link read}
   */
  map(range: DiskRange & { readonly signal?: AbortSignal | undefined } = {}): AsyncGenerator<Extent> {
    const requests = this.#requests;
    requests.assertReadable();
    const { dataStorage, backing, size } = requests.image;
    const { disk } = requests;
    const resolve: GuestReader["resolve"] = (...part) =>
      requests.look((image) => {
        requests.assertSameDisk(disk);
        return image.reader.resolve(...part);
      });
    const looksAllocated = (): Promise<boolean> => requests.look((image) => this.#looksPreallocated(image));
    return mapOneDisk(
      mapGuest(
        { resolve, dataStorage, backing, virtualSize: size, looksPreallocated: looksAllocated },
        range,
      ),
      () => requests.assertSameDisk(disk),
    );
  }

  #looksPreallocated(image: OpenImage): Promise<boolean> {
    if (this.#preallocated?.image !== image) {
      const answer = prepareMap(image);
      this.#preallocated = { image, answer };
      answer.catch(() => {
        this.#preallocated = undefined;
      });
    }
    return this.#preallocated.answer;
  }

  /**
   * Checks the image's metadata: every refcount against every reference, flags, offsets and overlaps. It changes nothing.
   * An image that is open for writing is flushed first, and checked as it is at that moment: changes that are asked for
   * meanwhile wait until the check has ended, which takes time in proportion to the tables; reads do not.
   */
  async check(options: CheckOptions = {}): Promise<CheckResult> {
    return await this.#requests.inspect(({ storage, layout, refcounts }) => {
      // The table may have moved since the header was read.
      const refcountTable = { offset: refcounts.table.offset, length: refcounts.table.bytes.length };
      return checkImage({ storage, layout: { ...layout, refcountTable } }, options);
    }, options.signal);
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
    await (this.#requests.writeInPlace(offset, from) ??
      this.#requests.change(offset, from.length, ({ plain }) => writeGuestData(plain, offset, from)));
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
      await this.#requests.change(offset, from.length, ({ plain }) => writeGuestData(plain, offset, from));
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
    await this.#requests.change(offset, length, ({ plain }) =>
      zeroGuestRange(plain, offset, offset + length, unmap ?? false, signal),
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
    await this.#requests.change(offset, length, ({ plain }) =>
      discardGuestRange(plain, offset, offset + length, { revealBacking, signal }),
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
    await this.#requests.change(offset, from.length, ({ compressed }) => compressed.write(offset, from));
  }

  /**
   * A stream that writes guest data; see {@link WritableDisk.writable}.
   * @throws Qcow2Error "out-of-range", "read-only", "closed"; the stream fails as {@link write} does
   */
  writable(options?: DiskWritableOptions): WritableStream<Uint8Array> {
    this.#requests.assertReadable();
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
    return await this.#requests.transform(async (replace) => {
      await replace((writer) => createSnapshot(writer, options));
      return this.info().snapshots.at(-1) as SnapshotInfo;
    }, options.signal);
  }

  /**
   * Makes the disk what it was when the snapshot was taken, its size included. What was written since is lost, unless
   * another snapshot keeps it. A power cut leaves the one disk or the other.
   * @throws Qcow2Error "snapshot-not-found", "unsupported" with an external data file or persistent bitmaps, and as
   *   {@link createSnapshot}
   */
  async applySnapshot(snapshot: SnapshotReference, options: TransactionOptions = {}): Promise<void> {
    await this.#requests.transform(
      (replace) => replace((writer) => applySnapshot(writer, snapshot, options), { otherDisk: true }),
      options.signal,
    );
  }

  /**
   * Deletes an internal snapshot and frees what only it used.
   * @throws Qcow2Error "snapshot-not-found", "ambiguous-snapshot" if another one could be meant, and as
   *   {@link createSnapshot}
   */
  async deleteSnapshot(snapshot: SnapshotReference, options: TransactionOptions = {}): Promise<void> {
    await this.#requests.transform(
      (replace) => replace((writer) => deleteSnapshot(writer, snapshot, options)),
      options.signal,
    );
  }

  /**
   * Changes persistent bitmaps, one action after the other, all or none of them.
   * @throws Qcow2Error "invalid-option", "bitmap-not-found", "bitmap-in-use" for one that was not saved (it can only be
   *   removed), "unsupported" in version 2 images, and as {@link createSnapshot}
   */
  async changeBitmaps(actions: readonly BitmapAction[], options: ChangeBitmapsOptions = {}): Promise<void> {
    await this.#requests.transform(
      (replace) => replace((writer) => changeBitmaps(writer, actions, options)),
      options.signal,
    );
  }

  /**
   * The dirty ranges of a persistent bitmap as it is stored; for an image that is being written, as it was before.
   * @throws Qcow2Error "bitmap-not-found", "bitmap-in-use", "truncated", "io", "closed"
   */
  async dirtyRanges(name: string): Promise<DirtyRanges> {
    return await dirtyRangesOf((work) => this.#requests.look(work), name);
  }

  /**
   * Changes the virtual size. What becomes visible reads as zeroes; what lies behind a smaller size is lost. Internal
   * snapshots keep their own size. A power cut leaves the one size or the other. A data file is cut off last of all: if that
   * fails, this does, and the disk has its new size.
   * @throws Qcow2Error "invalid-option" for a size that is no multiple of 512 or too large, for a smaller one without
   *   `shrink`, or a preallocation of nothing; "unsupported" for snapshots in a version 2 image; and as
   *   {@link createSnapshot}
   */
  async resize(options: DiskResizeOptions): Promise<void> {
    await this.#requests.transform(
      (replace) => replace((writer) => resizeImage(writer, options), { otherDisk: true }),
      options.signal,
    );
  }

  /**
   * Changes options that the image was created with. All are looked at before anything is changed; a power cut leaves
   * the image as it was, as it has to be, or between two of four steps, each of which is one change of the whole: the
   * options, the size, giving up the bitmaps, and the step down to version 2.
   * @throws Qcow2Error "invalid-option" for what the image cannot become, "limit-exceeded" if a cluster has more users
   *   than narrower refcounts can count, and as {@link createSnapshot}
   */
  async amend(options: AmendOptions): Promise<void> {
    this.#requests.assertChangeable();
    assertAmendment(this.#image, options);
    await this.#requests.transform(async (replace) => {
      // What was asked for before may have left another image.
      assertAmendment(this.#image, options);
      if (changesImage(this.#image, options)) await replace((writer) => amendImage(writer, options));
      const { size } = options;
      if (size !== undefined && size !== this.size) {
        await replace((writer) => resizeImage(writer, { ...options, size }), { otherDisk: true });
      }
      if (options.version === 2 && this.#image.layout.header.version === 3) {
        const bitmaps = this.info().bitmaps.map(({ name }) => ({ kind: "remove" as const, name }));
        if (bitmaps.length > 0) await replace((writer) => changeBitmaps(writer, bitmaps, options));
        await replace((writer) => downgradeImage(writer, options));
      }
    }, options.signal);
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
    this.#requests.assertChangeable();
    await this.#requests.transform(async (replace) => {
      const opened =
        metadataOnly || backing === undefined || backing.disk !== undefined
          ? undefined
          : await references.openBackingFile({ name: backing.name, format: backing.format, from: this.name });
      const before = this.backing;
      const after = metadataOnly ? undefined : (backing?.disk ?? opened);
      try {
        await replace((writer) => changeBackingFile(writer, backing), { backing: after, otherDisk: true });
      } catch (error) {
        await opened?.close();
        throw error;
      }
      if (before !== after) await before?.close();
    });
  }

  /**
   * Gives up everything that the disk itself defines, so that it reads as its backing file does, or as zeroes without
   * one; the space goes back to the host. For an overlay whose content its backing file has by now, durably: see
   * `commitDisk` of `@qcow2/convert`. Internal snapshots keep theirs, and bitmaps stay as they are, because such a disk
   * reads the same afterwards. A power cut leaves the full image or the empty one.
   * @throws Qcow2Error "unsupported" with a raw external data file, and as {@link createSnapshot}
   */
  async makeEmpty(options: TransactionOptions = {}): Promise<void> {
    await this.#requests.transform(async (replace) => {
      await replace((writer) => makeEmpty(writer, options), { otherDisk: true });
      try {
        if (isScattered(this.#image)) await replace(gatherTables);
      } catch (error) {
        // It is empty, and its file only longer than it need be.
        if (!isQcow2Error(error)) throw error;
      }
    }, options.signal);
  }

  /** Resolves when everything written before the call survives a power cut. */
  async flush(): Promise<void> {
    await this.#requests.flush();
  }

  /**
   * Closes the image, its backing chain and its data file, when everything that was asked for before has ended and all
   * that was written survives a power cut. What is asked for afterwards is refused. Safe to call twice: both calls wait
   * for the same end.
   */
  close(): Promise<void> {
    return this.#requests.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/** The data file of an image that has just been made is the storage that was given for it. */
function withDataFile(references: References, storage: Storage): References {
  return {
    openBackingFile: (reference) => references.openBackingFile(reference),
    openDataFile: async () => storage,
  };
}

/** What `extents` tells of one disk, and not the failure that comes of another one being there by now. */
async function* mapOneDisk(
  extents: AsyncGenerator<Extent>,
  assertSameDisk: () => void,
): AsyncGenerator<Extent> {
  try {
    yield* extents;
  } catch (error) {
    assertSameDisk();
    throw error;
  }
}
