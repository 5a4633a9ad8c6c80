import type { BytePrimitives } from "./byte-primitives.ts";

/** Buffers of one size, used again and again: a copy of any length costs as many as are in use at one time. */
export class BufferPool {
  readonly #bufferBytes: number;
  readonly #allocate: (bytes: number) => Uint8Array;
  readonly #free: Uint8Array[] = [];

  constructor(bufferBytes: number, { allocate = allocateHere }: Pick<BytePrimitives, "allocate"> = {}) {
    this.#bufferBytes = bufferBytes;
    this.#allocate = allocate;
  }

  /** A buffer with any content. Whoever takes it gives it back when no operation uses it any more. */
  take(): Uint8Array {
    return this.#free.pop() ?? this.#allocate(this.#bufferBytes);
  }

  give(buffer: Uint8Array): void {
    this.#free.push(buffer);
  }
}

function allocateHere(bytes: number): Uint8Array {
  return new Uint8Array(bytes);
}
