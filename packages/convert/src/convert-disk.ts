import type { Extent } from "@qcow2/core";
import { BufferPool } from "./buffer-pool.ts";
import { type CheckedOptions, checkConvertOptions } from "./check-convert-options.ts";
import { ChunkWriter } from "./chunk-writer.ts";
import type { ConvertOptions, ConvertResult } from "./convert-options.ts";
import { type CopyItem, CopyPlan } from "./copy-plan.ts";
import { RateLimit } from "./rate-limit.ts";
import { mapSalvaging, readSalvaging } from "./salvage.ts";
import { type Piece, storedPieces } from "./stored-pieces.ts";
import { noOrder, Queue, TaskGroup, type Turn } from "./task-group.ts";

/**
 * Copies the content of `source` to `target`. Neither is flushed or closed.
 *
 * Chunks are read in parallel, a bounded number ahead of the writes; writes keep the order of the disk, so that the
 * target allocates in that order (unless `outOfOrder`). The first failure decides, and the promise rejects only
 * when nothing is running any more; the target then holds a part of the copy.
 *
 * @throws Qcow2Error "out-of-range" if the target is smaller; "unsupported" if it cannot compress; what reading and
 * writing throw; the signal's reason.
 */
export async function convertDisk(options: ConvertOptions): Promise<ConvertResult> {
  return await copyDisk(checkConvertOptions(options), options);
}

/** How a copy is watched and held up. */
export type CopyEvents = Pick<
  ConvertOptions,
  "rateLimitBytesPerSecond" | "onReadError" | "onProgress" | "isWatched" | "signal"
>;

/** As {@link convertDisk}, with options that were checked. */
export async function copyDisk(checked: CheckedOptions, options: CopyEvents): Promise<ConvertResult> {
  const { signal } = options;
  signal?.throwIfAborted();
  const copy = new DiskCopy(checked, options);
  const onAbort = (): void => copy.cancel(signal?.reason);
  signal?.addEventListener("abort", onAbort, { once: true });
  try {
    return await copy.run();
  } finally {
    signal?.removeEventListener("abort", onAbort);
  }
}

class DiskCopy {
  readonly #checked: CheckedOptions;
  readonly #options: CopyEvents;
  readonly #tasks: TaskGroup;
  readonly #order: Pick<Queue, "takeTurn">;
  readonly #buffers: BufferPool;
  readonly #writer: ChunkWriter;
  /** False once the host did not copy. */
  #offloads = true;
  #bytesRead = 0;
  #bytesUnreadable = 0;
  #bytesDone = 0;
  /** Undefined as long as it is not known. */
  #bytesToDo: number | undefined;
  #isMeasuring = false;

  constructor(checked: CheckedOptions, options: CopyEvents) {
    const { rateLimitBytesPerSecond, signal } = options;
    this.#checked = checked;
    this.#options = options;
    this.#tasks = new TaskGroup(checked.parallel);
    this.#order = checked.outOfOrder ? noOrder : new Queue();
    this.#buffers = new BufferPool(Math.min(checked.chunkBytes, checked.source.size), checked.primitives);
    const rateLimit = rateLimitBytesPerSecond ? new RateLimit(rateLimitBytesPerSecond, signal) : undefined;
    this.#writer = new ChunkWriter(checked, rateLimit, () => this.#tasks.failed);
  }

  cancel(reason: unknown): void {
    this.#tasks.fail(reason);
  }

  async run(): Promise<ConvertResult> {
    try {
      if (this.#isWatched()) await this.#measure();
      await this.#startTasks();
    } catch (error) {
      this.#tasks.fail(error);
    }
    await this.#tasks.finish();
    return {
      bytesRead: this.#bytesRead,
      bytesWritten: this.#writer.bytesWritten,
      bytesZeroed: this.#writer.bytesZeroed,
      bytesUnreadable: this.#bytesUnreadable,
    };
  }

  async #startTasks(): Promise<void> {
    let bytesToDo = 0;
    for await (const items of this.#plan()) {
      for (const item of items) {
        bytesToDo += bytesOfWork(item);
        if (!(await this.#tasks.vacancy())) return;
        const turn = this.#order.takeTurn();
        this.#tasks.start(() => this.#copy(item, turn));
      }
    }
    this.#bytesToDo = bytesToDo;
  }

  /** Adds up what has to be copied, until the copy itself knows. */
  async #measure(): Promise<void> {
    this.#isMeasuring = true;
    let bytesToDo = 0;
    for await (const items of this.#plan()) {
      for (const item of items) bytesToDo += bytesOfWork(item);
      if (this.#bytesToDo !== undefined || this.#tasks.failed) return;
    }
    this.#bytesToDo = bytesToDo;
    this.#report(0);
  }

  #isWatched(): boolean {
    const { onProgress, isWatched } = this.#options;
    return onProgress !== undefined && (isWatched?.() ?? true);
  }

  /** The items of the copy in the order of the disk, as the source's map makes them known. */
  async *#plan(): AsyncGenerator<readonly CopyItem[], void, undefined> {
    const { source, chunkBytes, unitBytes, writeEverything, targetIsZero, backing } = this.#checked;
    const plan = new CopyPlan({
      size: source.size,
      chunkBytes,
      unitBytes,
      writeEverything,
      targetIsZero,
      backing,
    });
    for await (const extent of this.#extents()) {
      const items = plan.push(extent);
      if (items.length > 0) yield items;
    }
    yield plan.end();
  }

  #extents(): AsyncIterable<Extent> {
    const { source, salvage, chunkBytes } = this.#checked;
    const { signal } = this.#options;
    return salvage ? mapSalvaging(source, chunkBytes, signal) : source.map({ signal });
  }

  async #copy(item: CopyItem, turn: Turn): Promise<void> {
    try {
      if (item.kind === "zero") {
        await turn.begins;
        await this.#writer.zero(item.offset, item.length);
      } else await this.#copyChunk(item, turn);
    } catch (error) {
      // Before the turn ends, so that the next in order knows.
      this.#tasks.fail(error);
    } finally {
      turn.end();
    }
    if (!this.#tasks.failed) this.#report(bytesOfWork(item));
  }

  async #copyChunk(item: CopyItem, turn: Turn): Promise<void> {
    const pieces = await this.#piecesOf(item);
    const buffer = this.#buffers.take();
    let notCopied: readonly Piece[];
    try {
      const chunk = buffer.subarray(0, item.length);
      if (item.kind === "fill") chunk.fill(0);
      else await this.#readPieces(item.offset, chunk, pieces);
      const write = this.#writer.prepare(chunk, pieces);
      await turn.begins;
      notCopied = await write(turn);
    } finally {
      this.#buffers.give(buffer);
    }
    // What the host does not do once between these two, it will not do again.
    if (notCopied.length > 0) this.#offloads = false;
    for (const { offset, length } of notCopied) {
      await this.#copyChunk({ kind: "copy", offset, length }, noOrder.takeTurn());
    }
  }

  /** The item as it is, or in pieces, of which some can be copied from where they lie. */
  async #piecesOf({ kind, offset, length }: CopyItem): Promise<readonly Piece[]> {
    const { source, offloadBytes } = this.#checked;
    if (kind !== "copy" || offloadBytes === undefined || !this.#offloads) {
      return [{ offset, length, stored: undefined }];
    }
    return await storedPieces(source, { offset, length, signal: this.#options.signal }, offloadBytes);
  }

  async #readPieces(origin: number, chunk: Uint8Array, pieces: readonly Piece[]): Promise<void> {
    for (const { offset, length, stored } of pieces) {
      if (stored !== undefined) continue;
      await this.#read(offset, chunk.subarray(offset - origin, offset - origin + length));
    }
  }

  async #read(offset: number, into: Uint8Array): Promise<void> {
    const { source, salvage } = this.#checked;
    if (salvage) {
      for (const range of await readSalvaging(source, offset, into)) {
        this.#bytesUnreadable += range.length;
        this.#options.onReadError?.(range);
      }
    } else await source.read({ offset, into });
    this.#bytesRead += into.length;
  }

  #report(bytes: number): void {
    this.#bytesDone += bytes;
    if (!this.#isWatched()) return;
    if (this.#bytesToDo !== undefined) this.#options.onProgress?.(this.#bytesDone, this.#bytesToDo);
    else if (!this.#isMeasuring) this.#tasks.start(() => this.#measure());
  }
}

/** Progress counts what has to be moved; zeroes cost next to nothing. */
function bytesOfWork(item: CopyItem): number {
  return item.kind === "zero" ? 0 : item.length;
}
