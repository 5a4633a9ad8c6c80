/** The public image class: it checks its arguments and its state, and hands the work to the engine. */
import type { Disk, DiskRange, Extent } from "./disk/disk.ts";
import { assertDiskRange } from "./disk/disk-range.ts";
import { describeImage } from "./engine/describe-image.ts";
import { mapGuest } from "./engine/guest-map.ts";
import type { Qcow2Info } from "./engine/image-info.ts";
import { looksPreallocated } from "./engine/looks-preallocated.ts";
import { closeImage, type OpenImage, type OpenOptions, openImage } from "./engine/open-image.ts";
import { Qcow2Error } from "./errors.ts";

export type { OpenOptions } from "./engine/open-image.ts";

export class Qcow2Image implements Disk {
  readonly format = "qcow2";
  readonly name: string;
  /** Virtual size in bytes: of the active disk, or of the snapshot that was opened. */
  readonly size: number;
  readonly readOnly: boolean;
  readonly #image: OpenImage;
  #preallocated: Promise<boolean> | undefined;
  #closed = false;

  private constructor(image: OpenImage) {
    this.#image = image;
    this.name = image.storage.name;
    this.size = image.size;
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
    return new Qcow2Image(await openImage(options));
  }

  /** The backing disk; undefined without one, or if only metadata was opened. */
  get backing(): Disk | undefined {
    return this.#image.backing;
  }

  /** What the header, the snapshot table and the bitmap directory say. */
  info(): Qcow2Info {
    return describeImage(this.#image);
  }

  async read(request: { readonly offset: number; readonly into: Uint8Array }): Promise<void> {
    assertDiskRange(request.offset, request.into.length, this.size);
    this.#assertReadable();
    if (request.into.length > 0) await this.#image.reader.read(request.offset, request.into);
  }

  map(range: DiskRange & { readonly signal?: AbortSignal | undefined } = {}): AsyncGenerator<Extent> {
    this.#assertReadable();
    const { reader, dataStorage, backing } = this.#image;
    const answer = (): Promise<boolean> => {
      this.#preallocated ??= looksPreallocated(this.#image);
      return this.#preallocated;
    };
    return mapGuest(
      { reader, dataStorage, backing, virtualSize: this.size, looksPreallocated: answer },
      range,
    );
  }

  /** Closes the image, its backing chain and its data file. Safe to call twice. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await closeImage(this.#image);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #assertOpen(): void {
    if (this.#closed) throw new Qcow2Error("closed", `${this.name} is closed`, { name: this.name });
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
