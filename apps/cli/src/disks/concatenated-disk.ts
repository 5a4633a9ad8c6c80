import {
  type Disk,
  type DiskRange,
  type DiskReadableOptions,
  diskReadable,
  type Extent,
  Qcow2Error,
} from "@qcow2/core";

interface Part {
  readonly disk: Disk;
  /** Where it begins in the whole. */
  readonly start: number;
}

/** Several disks one after the other, as `convert` reads more than one source. Closing it closes them all. */
export class ConcatenatedDisk implements Disk {
  readonly format = "raw";
  readonly name: string;
  readonly size: number;
  readonly readOnly = true;
  readonly #parts: readonly Part[];

  constructor(disks: readonly Disk[]) {
    let size = 0;
    const parts: Part[] = [];
    for (const disk of disks) {
      parts.push({ disk, start: size });
      size += disk.size;
    }
    this.#parts = parts;
    this.size = size;
    this.name = disks.map(({ name }) => name).join(" + ");
  }

  async read({ offset, into }: { readonly offset: number; readonly into: Uint8Array }): Promise<void> {
    const { size } = this;
    if (offset < 0 || offset + into.length > size) {
      throw new Qcow2Error("out-of-range", `${into.length} bytes at ${offset} lie beyond the end (${size})`, {
        offset,
        length: into.length,
        size,
      });
    }
    for (const { disk, from, to, start } of this.#within(offset, offset + into.length)) {
      await disk.read({ offset: from - start, into: into.subarray(from - offset, to - offset) });
    }
  }

  async *map(
    range: DiskRange & { readonly signal?: AbortSignal | undefined } = {},
  ): AsyncGenerator<Extent, void, void> {
    const { offset = 0, length = this.size - offset, signal } = range;
    for (const { disk, from, to, start } of this.#within(offset, offset + length)) {
      for await (const extent of disk.map({ offset: from - start, length: to - from, signal })) {
        yield { ...extent, offset: extent.offset + start };
      }
    }
  }

  readable(options?: DiskReadableOptions): ReadableStream<Uint8Array<ArrayBuffer>> {
    return diskReadable(this, options);
  }

  async close(): Promise<void> {
    for (const { disk } of this.#parts) await disk.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** The parts that bytes from..to touch, with the bytes of the whole that each contributes. */
  #within(from: number, to: number): (Part & { readonly from: number; readonly to: number })[] {
    return this.#parts
      .map((part) => ({
        ...part,
        from: Math.max(from, part.start),
        to: Math.min(to, part.start + part.disk.size),
      }))
      .filter((part) => part.from < part.to);
  }
}
