/**
 * What runs beside what on an open image. A request is accepted or refused when it is made, and what was accepted is
 * done, or fails by its own fault, before the image closes. Requests that touch the same clusters come in the order of
 * their calls; what concerns the image as a whole runs alone, after all that was asked for before it.
 */
import { assertDiskRange } from "../disk/disk-range.ts";
import { isQcow2Error, Qcow2Error } from "../errors.ts";
import { roundDown, roundUp } from "../format/geometry.ts";
import { Epochs, enterUnlessAborted, type RangeLock } from "./async-lock.ts";
import { beginChangingMetadata, beginWriting } from "./begin-writing.ts";
import { BitmapTracking } from "./bitmaps/bitmap-tracking.ts";
import { CompressedWriter } from "./compressed-writer.ts";
import { cutOffUnusedEnd } from "./cut-off-file.ts";
import { inPlaceOffset, writeGuestBytes } from "./guest-writer.ts";
import { closeImage, type OpenImage, reloadImage } from "./open-image.ts";
import { ReferenceProof } from "./proof/reference-proof.ts";
import type { GiveBack } from "./transaction/metadata-transaction.ts";
import { createRanges, createWriteContext, type WriteContext } from "./write-context.ts";

export interface ReplaceOptions {
  /** What the image reads from then on where it defines nothing; default: as before. */
  readonly backing?: OpenImage["backing"];
  /** The guest sees another disk from then on: whoever looks at the old one in steps cannot go on. Default false. */
  readonly otherDisk?: boolean | undefined;
}

/** One change of the metadata as a whole; afterwards {@link ImageRequests.image} is what it left. */
export type Replace = (
  work: (writer: WriteContext) => Promise<GiveBack>,
  options?: ReplaceOptions,
) => Promise<void>;

/** What writes to an image: both know its tables, and are made anew with them. */
interface Writers {
  readonly plain: WriteContext;
  readonly compressed: CompressedWriter;
}

export class ImageRequests {
  #image: OpenImage;
  readonly #reads = new Epochs();
  /** Requests that change, flush or check the image; closing waits for them and for the reads. */
  readonly #accepted = new Epochs();
  readonly #ranges: RangeLock;
  readonly #proof = new ReferenceProof();
  #writers: Writers | undefined;
  #begun: Promise<void> | undefined;
  #hasBegun = false;
  /** Closing flushes what was changed in place, too, although no table waits to be written. */
  #hasUnflushedChanges = false;
  /** Bitmaps that follow the changes, once there is one. */
  #tracking: BitmapTracking | undefined;
  /** Another object once the guest sees another disk. */
  #disk: object = {};
  #closing: Promise<void> | undefined;

  constructor(image: OpenImage) {
    this.#image = image;
    this.#ranges = createRanges(image);
    this.#prepareToWrite();
  }

  get image(): OpenImage {
    return this.#image;
  }

  /** The disk that the guest sees, for {@link assertSameDisk}. */
  get disk(): object {
    return this.#disk;
  }

  /** @throws Qcow2Error "changed" */
  assertSameDisk(disk: object): void {
    if (disk === this.#disk) return;
    const { name } = this.#image.storage;
    throw new Qcow2Error("changed", `${name} was replaced as a whole while it was looked at`, { name });
  }

  /** @throws Qcow2Error "closed" */
  assertOpen(): void {
    if (this.#closing === undefined) return;
    const { name } = this.#image.storage;
    throw new Qcow2Error("closed", `${name} is closed`, { name });
  }

  /** @throws Qcow2Error "closed", "unsupported" */
  assertReadable(): void {
    this.assertOpen();
    if (!this.#image.metadataOnly) return;
    throw new Qcow2Error("unsupported", `${this.#image.storage.name} was opened for its metadata only`, {
      operation: "read guest data",
    });
  }

  /**
   * For changes of the metadata, which images that were opened for nothing else take, too.
   * @throws Qcow2Error "closed", "read-only"
   */
  assertChangeable(): void {
    this.assertOpen();
    if (this.#writers !== undefined) return;
    const { name } = this.#image.storage;
    throw new Qcow2Error("read-only", `${name} is open read-only`, { name });
  }

  /** Fills `into` with guest data from `offset`. */
  async read(offset: number, into: Uint8Array): Promise<void> {
    const epoch = this.#reads.enter();
    try {
      await this.#image.reader.read(offset, into);
    } finally {
      this.#reads.leave(epoch);
    }
  }

  /** Looks at the image as it is now. Nothing that it refers to is used for something else before `work` has ended. */
  async look<Result>(work: (image: OpenImage) => Promise<Result>): Promise<Result> {
    this.assertOpen();
    return await this.#reads.run(() => work(this.#image));
  }

  /**
   * Writes to where the tables in memory say that it may go as it is; undefined if that is not known, or somebody else is
   * at these bytes. Nothing is waited for before the write.
   */
  writeInPlace(offset: number, from: Uint8Array): Promise<void> | undefined {
    if (!this.#hasBegun || from.length === 0 || this.#closing !== undefined) return undefined;
    const { plain } = this.#writers as Writers;
    const end = offset + from.length;
    const hostOffset = inPlaceOffset(plain, offset, end);
    const range = hostOffset === undefined ? undefined : plain.ranges.tryEnter(offset, end);
    return range === undefined
      ? undefined
      : this.#writeHeld(plain, { hostOffset: hostOffset as number, range, from });
  }

  async #writeHeld(
    writer: WriteContext,
    held: {
      readonly hostOffset: number;
      readonly range: NonNullable<ReturnType<RangeLock["tryEnter"]>>;
      readonly from: Uint8Array;
    },
  ): Promise<void> {
    const { hostOffset, range, from } = held;
    const epoch = this.#accepted.enter();
    this.#hasUnflushedChanges = true;
    this.#tracking?.note(range.start, range.end);
    try {
      await writeGuestBytes(writer, hostOffset, from);
    } finally {
      // Also for those who flush while this is under way.
      this.#hasUnflushedChanges = true;
      writer.ranges.leave(range);
      if (writer.file.isRefusing) await writer.file.settled();
      this.#accepted.leave(epoch);
    }
  }

  /** Runs a change of guest data with its clusters locked, and writes metadata out when there is much of it. */
  async change(offset: number, length: number, work: (writers: Writers) => Promise<void>): Promise<void> {
    assertDiskRange(offset, length, this.#image.size);
    this.assertReadable();
    this.assertChangeable();
    if (length === 0) return;
    await this.#accepted.run(async () => {
      try {
        this.#plain.file.assertSound();
        const { clusterSize } = this.#image.layout.geometry;
        // Before anything is waited for, so that requests for the same clusters come in the order of their calls.
        await this.#ranges.run(
          roundDown(offset, clusterSize),
          roundUp(offset + length, clusterSize),
          async () => {
            // A change of the metadata as a whole may have come before.
            assertDiskRange(offset, length, this.#image.size);
            const writers = this.#writers as Writers;
            if (!this.#hasBegun) await this.#begin(writers.plain);
            this.#tracking?.note(offset, offset + length);
            await work(writers);
          },
        );
        if (this.#plain.commit.underPressure) await this.#plain.commit.write();
      } finally {
        this.#hasUnflushedChanges = true;
        await this.#plain.file.settled();
      }
    });
  }

  /**
   * Runs `work`, which changes the metadata as a whole in as many steps as it likes, with nothing else under way. Until
   * it is its turn, an aborted `signal` ends the waiting.
   */
  async transform<Result>(
    work: (replace: Replace) => Promise<Result>,
    signal?: AbortSignal | undefined,
  ): Promise<Result> {
    this.assertChangeable();
    return await this.#alone(
      async () => {
        const tracking = this.#tracking;
        if (tracking !== undefined) await this.#replace((writer) => tracking.store(writer));
        else if (this.#hasBegun && this.#image.bitmaps.length > 0) await this.#forgetTables();
        return await work((step, options) => this.#replace(step, options));
      },
      { signal, changes: true },
    );
  }

  /**
   * Runs `work` on one state of the whole image: what was asked for before is in the file, and what is asked for
   * meanwhile waits. Until it is its turn, an aborted `signal` ends the waiting.
   */
  async inspect<Result>(
    work: (image: OpenImage) => Promise<Result>,
    signal?: AbortSignal | undefined,
  ): Promise<Result> {
    this.assertOpen();
    if (this.#writers === undefined) return await this.#accepted.run(() => work(this.#image));
    return await this.#alone(() => work(this.#image), { signal, changes: false });
  }

  /** Resolves when everything written before the call survives a power cut. */
  async flush(): Promise<void> {
    this.assertOpen();
    await this.#accepted.run(() => this.#flush());
  }

  /** Waits for everything that was accepted. Both of two calls wait for the same end. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  get #plain(): WriteContext {
    return (this.#writers as Writers).plain;
  }

  /** Runs `task` after everything that was asked for before, with all of it in the file. */
  #alone<Result>(
    task: () => Promise<Result>,
    { signal, changes }: { readonly signal: AbortSignal | undefined; readonly changes: boolean },
  ): Promise<Result> {
    return enterUnlessAborted(signal, (onTurn) =>
      this.#accepted.run(() =>
        this.#ranges.run(0, Number.MAX_SAFE_INTEGER, async () => {
          onTurn();
          if (changes) this.#plain.file.assertSound();
          // Freed clusters are counted as free only after the tables are written: hence more than one round.
          do await this.#flush();
          while (this.#plain.commit.isDirty);
          return await task();
        }),
      ),
    );
  }

  async #flush(): Promise<void> {
    this.#hasUnflushedChanges = false;
    try {
      await this.#writers?.plain.commit.flush();
    } catch (error) {
      this.#hasUnflushedChanges = true;
      throw error;
    }
  }

  async #close(): Promise<void> {
    await Promise.all([this.#accepted.drain(), this.#reads.drain()]);
    const writers = this.#writers;
    try {
      await writers?.compressed.padFile();
      // Freed clusters are counted as free only after the tables are written: hence more than one round.
      while (this.#hasUnflushedChanges || writers?.plain.commit.isDirty) await this.#flush();
      if (writers?.plain.file.hasFailedFlush) writers.plain.file.assertSound();
      if (writers !== undefined) await cutOffUnusedEnd(writers.plain);
      // Last of all: what the writer knows of the tables is not true any more afterwards.
      await this.#storeBitmaps();
    } finally {
      await closeImage(this.#image);
    }
  }

  /** Everything else is durable by now; an image that refuses changes keeps its bitmaps as in use. */
  async #storeBitmaps(): Promise<void> {
    const [tracking, writers] = [this.#tracking, this.#writers];
    if (tracking === undefined || writers === undefined || writers.plain.file.isRefusing) return;
    try {
      const giveBack = await tracking.store(writers.plain);
      await giveBack();
    } catch (error) {
      // They stay in use, which says so; what was written is there all the same.
      if (!isQcow2Error(error, "needs-repair")) throw error;
    }
  }

  /** Goes on with what `work` has switched to. */
  async #replace(
    work: (writer: WriteContext) => Promise<GiveBack>,
    options: ReplaceOptions = {},
  ): Promise<void> {
    const writer = this.#plain;
    let giveBack: GiveBack;
    try {
      // The next writer knows nothing of what this one has left at the end of the file.
      await this.#writers?.compressed.padFile();
      await beginChangingMetadata(writer);
      giveBack = await work(writer);
    } catch (error) {
      if (writer.file.isRetired) writer.file.refuse(error);
      throw error;
    } finally {
      await writer.file.settled();
    }
    try {
      await this.#forgetTables(options);
    } catch (error) {
      writer.file.refuse(error);
      throw error;
    }
    // Until they have ended, reads that began before look at the old tables.
    await this.#reads.drain();
    await giveBack();
  }

  /** Reads again what the image file says, with everything flushed and nothing under way. */
  async #forgetTables({ otherDisk = false, ...replaced }: ReplaceOptions = {}): Promise<void> {
    this.#image = await reloadImage({ ...this.#image, ...replaced });
    if (otherDisk) this.#disk = {};
    this.#prepareToWrite();
  }

  #prepareToWrite(): void {
    this.#begun = undefined;
    this.#hasBegun = false;
    this.#tracking = undefined;
    if (this.#image.readOnly) return;
    const plain = createWriteContext(this.#image, {
      ranges: this.#ranges,
      reads: this.#reads,
      proof: this.#proof,
      hasFreed: this.#writers?.plain.commit.hasFreed ?? false,
    });
    this.#writers = { plain, compressed: new CompressedWriter(plain) };
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
}
