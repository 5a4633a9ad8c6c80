/** Buffers of one size, used again and again: a copy of any length costs as many as are in use at one time. */
export class BufferPool {
  readonly #bufferBytes: number;
  readonly #free: Uint8Array[] = [];

  constructor(bufferBytes: number) {
    this.#bufferBytes = bufferBytes;
  }

  /** A buffer with any content. Whoever takes it gives it back when no operation uses it any more. */
  take(): Uint8Array {
    return this.#free.pop() ?? new Uint8Array(this.#bufferBytes);
  }

  give(buffer: Uint8Array): void {
    this.#free.push(buffer);
  }
}
