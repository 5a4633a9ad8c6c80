import type { Libc } from "../native/libc.ts";

/** Pages that were written can be given up only once they are on the disk: no more than these wait for a flush. */
const MAX_WRITTEN_BYTES = 32 * 2 ** 20;

/** Gives up the pages of a file in the host's cache that were read or written through one descriptor. */
export class CacheDropper {
  readonly #fd: number;
  readonly #drop: NonNullable<Libc["dropCache"]>;
  /** What was written since the last flush lies within. */
  #writtenStart = Number.POSITIVE_INFINITY;
  #writtenEnd = 0;
  #writtenBytes = 0;

  constructor(fd: number, drop: NonNullable<Libc["dropCache"]>) {
    this.#fd = fd;
    this.#drop = drop;
  }

  afterRead(offset: number, length: number): void {
    this.#drop(this.#fd, offset, length);
  }

  /** True if it is time for a flush, after which {@link afterFlush} gives up what was written. */
  afterWrite(offset: number, length: number): boolean {
    this.#writtenStart = Math.min(this.#writtenStart, offset);
    this.#writtenEnd = Math.max(this.#writtenEnd, offset + length);
    this.#writtenBytes += length;
    return this.#writtenBytes >= MAX_WRITTEN_BYTES;
  }

  afterFlush(): void {
    if (this.#writtenBytes === 0) return;
    this.#drop(this.#fd, this.#writtenStart, this.#writtenEnd - this.#writtenStart);
    this.#writtenStart = Number.POSITIVE_INFINITY;
    this.#writtenEnd = 0;
    this.#writtenBytes = 0;
  }
}
