import { type Disk, type Extent, Qcow2Image, type WritableDisk } from "@qcow2/core";
import { BufferPool } from "./buffer-pool.ts";
import { type BytePrimitives, portablePrimitives } from "./byte-primitives.ts";
import { clustersOf, requireCompression, requireInteger } from "./check-convert-options.ts";
import { extentPairs, MapFailure } from "./extent-pairs.ts";
import { type RangeState, type RebaseItem, RebasePlan } from "./rebase-plan.ts";
import { Queue, TaskGroup, type Turn } from "./task-group.ts";

const DEFAULT_PARALLEL = 8;
const DEFAULT_CHUNK_BYTES = 2 ** 20;

export interface RebaseOptions {
  /** Open for writing, over the backing file that it has. */
  readonly overlay: WritableDisk;
  /** The disk that is to be its backing file; undefined if it is to have none. */
  readonly backing: Disk | undefined;
  /**
   * If `backing` is the layer of the overlay's own chain so many layers below it: what no layer above it defines is the
   * same then, and is not even read. Default: it is another disk.
   */
  readonly sharedDepth?: number | undefined;
  /** Write what is copied compressed; needs an overlay that can, and its `clusterSize`. */
  readonly compress?: boolean | undefined;
  /** Bytes of a cluster of the overlay, a power of two. Default: that of a `Qcow2Image`. */
  readonly clusterSize?: number | undefined;
  /** Chunks in work at a time. Default 8. Memory: twice this many times `chunkBytes`. */
  readonly parallel?: number | undefined;
  /** Bytes of the largest read; at least a cluster. Default 1 MiB. */
  readonly chunkBytes?: number | undefined;
  /** Called with the bytes of the overlay that are done, and its size. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
  /** Aborting it makes the promise reject with the signal's reason once nothing is running any more. */
  readonly signal?: AbortSignal | undefined;
  /** Faster loops of the host. Default {@link portablePrimitives}. */
  readonly primitives?: BytePrimitives | undefined;
}

/** What was put into the overlay. Bytes of guest data. */
export interface RebaseResult {
  readonly bytesCompared: number;
  /** Before compression. */
  readonly bytesWritten: number;
  /** Marked as zeroes. */
  readonly bytesZeroed: number;
}

/**
 * Prepares an overlay for another backing file: where the overlay defines nothing and the new backing file reads
 * differently from the old one, the overlay is given what it reads now. It reads the same all the time, and after this
 * over either of both. What was written is durable when the promise resolves, so that the new backing file may be
 * recorded then (`Qcow2Image.setBackingFile`).
 *
 * @throws Qcow2Error "unsupported" if the overlay cannot compress; what reading and writing throw; the signal's reason
 */
export async function rebaseDisk(options: RebaseOptions): Promise<RebaseResult> {
  const { overlay, signal } = options;
  signal?.throwIfAborted();
  const rebase = new Rebase(options);
  const onAbort = (): void => rebase.cancel(signal?.reason);
  signal?.addEventListener("abort", onAbort, { once: true });
  try {
    const result = await rebase.run();
    await overlay.flush();
    return result;
  } finally {
    signal?.removeEventListener("abort", onAbort);
  }
}

/** A part of a chunk that the overlay has to define; indices, half-open. */
interface Run {
  readonly start: number;
  end: number;
  readonly kind: "data" | "zero";
}

class Rebase {
  readonly #options: RebaseOptions;
  readonly #primitives: BytePrimitives;
  readonly #unitBytes: number;
  readonly #chunkBytes: number;
  /** Writing zeroes defines them, and does not just find that the range reads as zeroes already. */
  readonly #marksZeroes: boolean;
  readonly #tasks: TaskGroup;
  readonly #order: Queue = new Queue();
  readonly #buffers: BufferPool;
  #bytesCompared = 0;
  #bytesWritten = 0;
  #bytesZeroed = 0;
  #bytesDone = 0;

  constructor(options: RebaseOptions) {
    const { overlay, clusterSize: givenClusterSize, compress = false, parallel = DEFAULT_PARALLEL } = options;
    requireInteger("parallel", parallel, 1);
    if (compress) requireCompression(overlay, givenClusterSize);
    const { clusterSize, subclusterSize } = clustersOf({ target: overlay, clusterSize: givenClusterSize });
    this.#options = options;
    this.#primitives = options.primitives ?? portablePrimitives;
    this.#unitBytes = compress ? clusterSize : subclusterSize;
    this.#chunkBytes = Math.ceil((options.chunkBytes ?? DEFAULT_CHUNK_BYTES) / clusterSize) * clusterSize;
    this.#marksZeroes = overlay instanceof Qcow2Image && overlay.info().version >= 3;
    this.#tasks = new TaskGroup(parallel);
    this.#buffers = new BufferPool(Math.min(this.#chunkBytes, overlay.size), this.#primitives);
  }

  cancel(reason: unknown): void {
    this.#tasks.fail(reason);
  }

  async run(): Promise<RebaseResult> {
    try {
      await this.#startTasks();
    } catch (error) {
      this.#tasks.fail(error instanceof MapFailure ? error.cause : error);
    }
    await this.#tasks.finish();
    return {
      bytesCompared: this.#bytesCompared,
      bytesWritten: this.#bytesWritten,
      bytesZeroed: this.#bytesZeroed,
    };
  }

  async #startTasks(): Promise<void> {
    const { size } = this.#options.overlay;
    const plan = new RebasePlan({ size, unitBytes: this.#unitBytes, chunkBytes: this.#chunkBytes });
    for await (const { state, length } of rangeStates(this.#options)) {
      if (!(await this.#startAll(plan.push(state, length)))) return;
      if (state !== "unknown") this.#report(length);
    }
    await this.#startAll(plan.end());
  }

  /** False if there is no point in going on. */
  async #startAll(items: readonly RebaseItem[]): Promise<boolean> {
    for (const item of items) {
      if (!(await this.#tasks.vacancy())) return false;
      const turn = this.#order.takeTurn();
      this.#tasks.start(() => this.#rebase(item, turn));
    }
    return true;
  }

  async #rebase(item: RebaseItem, turn: Turn): Promise<void> {
    const buffers = [this.#buffers.take(), this.#buffers.take()] as const;
    try {
      const [old, now] = [buffers[0].subarray(0, item.length), buffers[1].subarray(0, item.length)];
      await this.#read(item.offset, old, now);
      const runs = this.#differences(item.offset, old, now);
      await turn.begins;
      for (const run of runs) {
        if (this.#tasks.failed) return;
        await this.#define(item.offset + run.start, old.subarray(run.start, run.end), run.kind);
      }
      this.#bytesCompared += item.length;
      this.#report(item.length);
    } catch (error) {
      // Before the turn ends, so that the next in order knows.
      this.#tasks.fail(error);
    } finally {
      turn.end();
      for (const buffer of buffers) this.#buffers.give(buffer);
    }
  }

  /** What the overlay reads, and what it would over the new backing file; zeroes behind the end of that. */
  async #read(offset: number, old: Uint8Array, now: Uint8Array): Promise<void> {
    const { overlay, backing } = this.#options;
    const length = Math.max(0, Math.min(now.length, (backing?.size ?? 0) - offset));
    now.fill(0, length);
    // Both have to have ended before the buffers are given back.
    const reads = await Promise.allSettled([
      overlay.read({ offset, into: old }),
      length > 0 ? backing?.read({ offset, into: now.subarray(0, length) }) : undefined,
    ]);
    for (const read of reads) if (read.status === "rejected") throw read.reason;
  }

  /** The units that differ, neighbours of one kind joined. */
  #differences(offset: number, old: Uint8Array, now: Uint8Array): Run[] {
    const { equal, isZero } = this.#primitives;
    const runs: Run[] = [];
    if (equal(old, now, 0, old.length)) return runs;
    for (let start = 0, end = 0; start < old.length; start = end) {
      end = Math.min(old.length, start + this.#unitBytes - ((offset + start) % this.#unitBytes));
      if (equal(old, now, start, end)) continue;
      const kind = this.#marksZeroes && isZero(old, start, end) ? "zero" : "data";
      const last = runs.at(-1);
      if (last?.kind === kind && last.end === start) last.end = end;
      else runs.push({ start, end, kind });
    }
    return runs;
  }

  async #define(offset: number, from: Uint8Array, kind: Run["kind"]): Promise<void> {
    const { overlay, compress = false } = this.#options;
    if (kind === "zero") {
      await overlay.writeZeroes({ offset, length: from.length });
      this.#bytesZeroed += from.length;
      return;
    }
    if (compress) await this.#writeCompressed(offset, from);
    else await overlay.write({ offset, from });
    this.#bytesWritten += from.length;
  }

  /** Whole clusters compressed; parts of a cluster as they are. */
  async #writeCompressed(offset: number, from: Uint8Array): Promise<void> {
    const { overlay } = this.#options;
    const unit = this.#unitBytes;
    const end = offset + from.length;
    const wholeStart = Math.min(end, Math.ceil(offset / unit) * unit);
    const wholeEnd = end === overlay.size ? end : Math.max(wholeStart, Math.floor(end / unit) * unit);
    const writes: (Promise<void> | undefined)[] = [];
    const add = (write: "write" | "writeCompressed", start: number, stop: number): void => {
      if (start === stop) return;
      writes.push(overlay[write]?.({ offset: start, from: from.subarray(start - offset, stop - offset) }));
    };
    add("write", offset, wholeStart);
    add("writeCompressed", wholeStart, wholeEnd);
    add("write", wholeEnd, end);
    for (const write of await Promise.allSettled(writes)) if (write.status === "rejected") throw write.reason;
  }

  #report(bytes: number): void {
    const { overlay, onProgress } = this.#options;
    // Units that are compared may count again what is known to be equal.
    this.#bytesDone = Math.min(overlay.size, this.#bytesDone + bytes);
    onProgress?.(this.#bytesDone, overlay.size);
  }
}

/** What is known of the overlay's ranges without reading any, from its start to its end. */
async function* rangeStates({
  overlay,
  backing,
  sharedDepth = Number.POSITIVE_INFINITY,
  signal,
}: RebaseOptions): AsyncGenerator<{ readonly state: RangeState; readonly length: number }> {
  if (backing === undefined) {
    for await (const extent of overlay.map({ signal })) {
      yield { state: stateOf(extent, undefined, sharedDepth), length: extent.length };
    }
    return;
  }
  for await (const { offset, first, second } of extentPairs(overlay, backing, signal)) {
    if (first === undefined) return;
    const end = Math.min(endOf(first), second === undefined ? Number.POSITIVE_INFINITY : endOf(second));
    yield { state: stateOf(first, second, sharedDepth), length: end - offset };
  }
}

function stateOf(extent: Extent, backing: Extent | undefined, sharedDepth: number): RangeState {
  if (extent.depth === 0 && extent.present) return "defined";
  if (extent.depth >= sharedDepth) return "equal";
  const bothAreZero = extent.kind === "zero" && (backing === undefined || backing.kind === "zero");
  return bothAreZero ? "equal" : "unknown";
}

function endOf({ offset, length }: Extent): number {
  return offset + length;
}
