import { type Disk, type DiskRange, type DiskReadableOptions, diskReadable, type Extent } from "@qcow2/core";

/** The bytes of a disk from `start` on, `size` of them, as a disk of their own. Closing it closes the whole disk. */
export class PartOfDisk implements Disk {
  readonly format = "raw";
  readonly readOnly = true;
  readonly size: number;
  readonly #whole: Disk;
  readonly #start: number;

  constructor(whole: Disk, { start, size }: { readonly start: number; readonly size: number }) {
    this.#whole = whole;
    this.#start = start;
    this.size = size;
  }

  get name(): string {
    return this.#whole.name;
  }

  async read({ offset, into }: { readonly offset: number; readonly into: Uint8Array }): Promise<void> {
    await this.#whole.read({ offset: offset + this.#start, into });
  }

  async *map(
    range: DiskRange & { readonly signal?: AbortSignal | undefined } = {},
  ): AsyncGenerator<Extent, void, void> {
    const { offset = 0, length = this.size - offset, signal } = range;
    if (length === 0) return;
    for await (const extent of this.#whole.map({ offset: offset + this.#start, length, signal })) {
      yield { ...extent, offset: extent.offset - this.#start };
    }
  }

  readable(options?: DiskReadableOptions): ReadableStream<Uint8Array<ArrayBuffer>> {
    return diskReadable(this, options);
  }

  async close(): Promise<void> {
    await this.#whole.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}
