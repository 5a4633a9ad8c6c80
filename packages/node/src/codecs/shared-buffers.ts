/** Memory that several threads see, used again and again. */

/** New memory is zeroed; buffers that are a little larger than asked for serve again where the exact ones would not. */
const GRANULE_BYTES = 512 * 1024;

export class SharedBuffers {
  readonly #kept: number;
  readonly #free: SharedArrayBuffer[] = [];

  /** Keeps at most `kept` buffers that nobody uses. */
  constructor(kept: number) {
    this.#kept = kept;
  }

  /** A buffer of at least so many bytes, with any content. */
  take(length: number): SharedArrayBuffer {
    const index = this.#free.findIndex((buffer) => buffer.byteLength >= length);
    return index === -1
      ? new SharedArrayBuffer(Math.ceil(length / GRANULE_BYTES) * GRANULE_BYTES)
      : (this.#free.splice(index, 1)[0] as SharedArrayBuffer);
  }

  /** Lends `work` a buffer of at least so many bytes, with any content, until it settles. */
  async with<Result>(length: number, work: (buffer: SharedArrayBuffer) => Promise<Result>): Promise<Result> {
    const buffer = this.take(length);
    try {
      return await work(buffer);
    } finally {
      this.give(buffer);
    }
  }

  /** Nobody uses the buffer any more. */
  give(buffer: SharedArrayBuffer): void {
    this.#free.push(buffer);
    // The smallest serve the fewest.
    if (this.#free.length > this.#kept) {
      this.#free.sort((first, second) => second.byteLength - first.byteLength).pop();
    }
  }

  clear(): void {
    this.#free.length = 0;
  }
}
