/** Web streams over any disk; `await source.readable().pipeTo(target.writable())` copies one with bounded memory. */
import { Qcow2Error } from "../errors.ts";
import type { Disk, DiskReadableOptions, DiskWritableOptions, WritableDisk } from "./disk.ts";
import { assertBytes, assertDiskRange } from "./disk-range.ts";
import { isZero } from "./is-zero.ts";

/**
 * Bytes of a chunk, and of the pieces in which a stream is written. A multiple of the default cluster size, large enough
 * that the work per request does not count, and small enough for the two or three of them that a pipe holds.
 */
const DEFAULT_CHUNK_BYTES: number = 1 << 20;
/** Zeroes are looked for in aligned units of this size, the default cluster: shorter ones are written as data. */
const ZERO_UNIT_BYTES = 65536;

/**
 * What `Disk.readable` answers; for classes that implement `Disk`.
 * @throws Qcow2Error "out-of-range"; RangeError if a number is no safe integer, or `chunkSize` is less than 1
 */
export function diskReadable(
  disk: Disk,
  options: DiskReadableOptions = {},
): ReadableStream<Uint8Array<ArrayBuffer>> {
  const { offset = 0, length = Math.max(0, disk.size - offset), chunkSize = DEFAULT_CHUNK_BYTES } = options;
  assertDiskRange(offset, length, disk.size);
  if (!Number.isSafeInteger(chunkSize) || chunkSize < 1) {
    throw new RangeError(`chunkSize must be a positive integer, not ${chunkSize}`);
  }
  const source = new DiskSource(disk, offset, offset + length, chunkSize, options.signal);
  return new ReadableStream<Uint8Array<ArrayBuffer>>(source, { highWaterMark: 1 });
}

/**
 * What `WritableDisk.writable` answers; for classes that implement `WritableDisk`.
 * @throws Qcow2Error "read-only", "out-of-range"; RangeError if `offset` is no safe integer from 0
 */
export function diskWritable(
  disk: WritableDisk,
  options: DiskWritableOptions = {},
): WritableStream<Uint8Array> {
  const { offset = 0, signal } = options;
  assertDiskRange(offset, 0, disk.size);
  if (disk.readOnly) {
    throw new Qcow2Error("read-only", `${disk.name} is open read-only`, { name: disk.name });
  }
  return new WritableStream<Uint8Array>(new DiskSink(disk, offset, signal));
}

/** Reads one chunk whenever the stream asks for one. */
class DiskSource implements UnderlyingDefaultSource<Uint8Array<ArrayBuffer>> {
  readonly #disk: Disk;
  readonly #end: number;
  readonly #chunkSize: number;
  readonly #signal: AbortSignal | undefined;
  #position: number;
  #hasEnded = false;
  #onAbort: (() => void) | undefined;

  constructor(disk: Disk, start: number, end: number, chunkSize: number, signal: AbortSignal | undefined) {
    this.#disk = disk;
    this.#position = start;
    this.#end = end;
    this.#chunkSize = chunkSize;
    this.#signal = signal;
  }

  start(controller: ReadableStreamDefaultController<Uint8Array<ArrayBuffer>>): void {
    this.#signal?.throwIfAborted();
    if (this.#position === this.#end) {
      controller.close();
      return;
    }
    this.#onAbort = () => {
      this.#finish();
      controller.error(this.#signal?.reason);
    };
    this.#signal?.addEventListener("abort", this.#onAbort);
  }

  async pull(controller: ReadableStreamDefaultController<Uint8Array<ArrayBuffer>>): Promise<void> {
    const offset = this.#position;
    // Chunks end at multiples of their size on the disk, so that none divides a cluster without need.
    const length = Math.min(this.#chunkSize - (offset % this.#chunkSize), this.#end - offset);
    const chunk = new Uint8Array(length);
    try {
      await this.#disk.read({ offset, into: chunk });
    } catch (error) {
      this.#finish();
      throw error;
    }
    if (this.#hasEnded) return;
    this.#position = offset + length;
    controller.enqueue(chunk);
    if (this.#position < this.#end) return;
    this.#finish();
    controller.close();
  }

  cancel(): void {
    this.#finish();
  }

  #finish(): void {
    this.#hasEnded = true;
    if (this.#onAbort !== undefined) this.#signal?.removeEventListener("abort", this.#onAbort);
  }
}

/** Gathers what is written into pieces that end at multiples of the piece's size on the disk, and writes those. */
class DiskSink implements UnderlyingSink<Uint8Array> {
  readonly #disk: WritableDisk;
  readonly #signal: AbortSignal | undefined;
  /** Aborted as soon as nothing more is to be written, be it by `signal` or by the stream's `abort`. */
  readonly #stop = new AbortController();
  #onAbort: (() => void) | undefined;
  /** Where `#gathered` belongs on the disk, bytes. */
  #position: number;
  /** Made when the first chunk comes that is no whole piece. */
  #buffer: Uint8Array | undefined;
  #gathered = 0;

  constructor(disk: WritableDisk, offset: number, signal: AbortSignal | undefined) {
    this.#disk = disk;
    this.#position = offset;
    this.#signal = signal;
  }

  start(controller: WritableStreamDefaultController): void {
    this.#signal?.throwIfAborted();
    controller.signal.addEventListener("abort", () => this.#finish(controller.signal.reason));
    this.#onAbort = () => {
      this.#finish(this.#signal?.reason);
      controller.error(this.#signal?.reason);
    };
    this.#signal?.addEventListener("abort", this.#onAbort);
  }

  async write(chunk: Uint8Array): Promise<void> {
    try {
      assertBytes(chunk);
      assertDiskRange(this.#position + this.#gathered, chunk.length, this.#disk.size);
      for (let done = 0; done < chunk.length; ) done += await this.#take(chunk.subarray(done));
    } catch (error) {
      this.#finish(error);
      throw error;
    }
  }

  async close(): Promise<void> {
    try {
      await this.#writeGathered();
      this.#stop.signal.throwIfAborted();
      await this.#disk.flush();
    } finally {
      this.#finish(undefined);
    }
  }

  /** Takes bytes up to the end of the piece, and answers how many. Whole pieces are written without being copied. */
  async #take(bytes: Uint8Array): Promise<number> {
    const pieceLength = DEFAULT_CHUNK_BYTES - (this.#position % DEFAULT_CHUNK_BYTES);
    const length = Math.min(bytes.length, pieceLength - this.#gathered);
    const taken = bytes.subarray(0, length);
    if (length === pieceLength) {
      await this.#writePiece(taken);
      return length;
    }
    this.#buffer ??= new Uint8Array(DEFAULT_CHUNK_BYTES);
    this.#buffer.set(taken, this.#gathered);
    this.#gathered += length;
    if (this.#gathered === pieceLength) await this.#writeGathered();
    return length;
  }

  async #writeGathered(): Promise<void> {
    if (this.#buffer === undefined || this.#gathered === 0) return;
    await this.#writePiece(this.#buffer.subarray(0, this.#gathered));
    this.#gathered = 0;
  }

  /** Writes at the stream's position: data as data, whole units of zeroes as zeroes. */
  async #writePiece(piece: Uint8Array): Promise<void> {
    const { signal } = this.#stop;
    for (let start = 0; start < piece.length; ) {
      signal.throwIfAborted();
      const { end, isData } = nextRun(piece, start, this.#position);
      const offset = this.#position + start;
      if (isData) await this.#disk.write({ offset, from: piece.subarray(start, end) });
      else await this.#disk.writeZeroes({ offset, length: end - start, unmap: true, signal });
      start = end;
    }
    this.#position += piece.length;
  }

  #finish(reason: unknown): void {
    this.#stop.abort(reason);
    this.#buffer = undefined;
    if (this.#onAbort !== undefined) this.#signal?.removeEventListener("abort", this.#onAbort);
  }
}

/** The run from index `start` whose units are all zero, or all not. Units are counted on the disk, not in the piece. */
function nextRun(
  piece: Uint8Array,
  start: number,
  offset: number,
): { readonly end: number; readonly isData: boolean } {
  const unitEnd = (index: number): number =>
    Math.min(piece.length, index + ZERO_UNIT_BYTES - ((offset + index) % ZERO_UNIT_BYTES));
  let end = unitEnd(start);
  const isData = !isZero(piece.subarray(start, end));
  while (end < piece.length && isZero(piece.subarray(end, unitEnd(end))) !== isData) end = unitEnd(end);
  return { end, isData };
}
