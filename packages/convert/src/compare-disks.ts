import { type Disk, isQcow2Error, Qcow2Error } from "@qcow2/core";
import { BufferPool } from "./buffer-pool.ts";
import { type BytePrimitives, portablePrimitives } from "./byte-primitives.ts";
import { CompareChunks, type CompareItem, compareExtents } from "./compare-plan.ts";
import { extentPairs, MapFailure } from "./extent-pairs.ts";
import { TaskGroup } from "./task-group.ts";

const DEFAULT_PARALLEL = 4;
const DEFAULT_CHUNK_BYTES = 2 ** 20;
const SECTOR_SIZE = 512;

export interface CompareOptions {
  readonly first: Disk;
  readonly second: Disk;
  /** Sizes have to be equal, and what is stored, zero, compressed or left to nobody has to be so on both sides. */
  readonly strict?: boolean | undefined;
  /** Chunks in work at a time. Default 4. Memory: twice this many times `chunkBytes`. */
  readonly parallel?: number | undefined;
  /** Bytes of the largest read. Default 1 MiB. */
  readonly chunkBytes?: number | undefined;
  /** Called with the bytes of the larger disk that are done, and its size. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
  /** Aborting it makes the promise reject with the signal's reason once nothing is running any more. */
  readonly signal?: AbortSignal | undefined;
  /** Faster loops of the host. Default {@link portablePrimitives}. */
  readonly primitives?: BytePrimitives | undefined;
}

export type CompareResult =
  | { readonly identical: true }
  | {
      readonly identical: false;
      /** "size" and "allocation" only with `strict`. */
      readonly reason: "size" | "allocation" | "content";
      /** First guest byte of the first sector that differs; 0 for "size". */
      readonly offset: number;
    };

/**
 * Compares what a guest would read. Disks of different sizes are identical if the rest of the larger one is zero.
 * The answer is the lowest offset that differs, however many chunks are compared at a time.
 *
 * @throws Qcow2Error "io" with operation "read" or "map" if a disk cannot be read below the first difference; its
 * `cause` is what the disk said.
 */
export async function compareDisks(options: CompareOptions): Promise<CompareResult> {
  const { first, second, strict = false, signal } = options;
  signal?.throwIfAborted();
  if (strict && first.size !== second.size) return { identical: false, reason: "size", offset: 0 };
  const comparison = new Comparison(options);
  const onAbort = (): void => comparison.cancel(signal?.reason);
  signal?.addEventListener("abort", onAbort, { once: true });
  try {
    return await comparison.run();
  } finally {
    signal?.removeEventListener("abort", onAbort);
  }
}

/** Something that ends the comparison: a difference, or a disk that cannot be read. The lowest one counts. */
type Finding =
  | { readonly offset: number; readonly reason: "allocation" | "content" }
  | { readonly offset: number; readonly error: unknown };

class Comparison {
  readonly #options: CompareOptions;
  readonly #primitives: BytePrimitives;
  readonly #tasks: TaskGroup;
  readonly #chunkBytes: number;
  readonly #buffers: BufferPool;
  #finding: Finding | undefined;
  #bytesDone = 0;

  constructor(options: CompareOptions) {
    this.#options = options;
    this.#primitives = options.primitives ?? portablePrimitives;
    this.#tasks = new TaskGroup(options.parallel ?? DEFAULT_PARALLEL);
    this.#chunkBytes = Math.ceil((options.chunkBytes ?? DEFAULT_CHUNK_BYTES) / SECTOR_SIZE) * SECTOR_SIZE;
    this.#buffers = new BufferPool(this.#chunkBytes, this.#primitives);
  }

  cancel(reason: unknown): void {
    this.#tasks.fail(reason);
  }

  async run(): Promise<CompareResult> {
    try {
      await this.#startTasks();
    } catch (error) {
      if (error instanceof MapFailure && isQcow2Error(error.cause))
        this.#noteFailure("map", error, error.cause);
      else this.#tasks.fail(error instanceof MapFailure ? error.cause : error);
    }
    await this.#tasks.finish();
    const finding = this.#finding;
    if (finding === undefined) return { identical: true };
    if ("error" in finding) throw finding.error;
    return { identical: false, ...finding };
  }

  async #startTasks(): Promise<void> {
    const chunks = new CompareChunks(this.#chunkBytes);
    for await (const pair of extentPairs(this.#options.first, this.#options.second, this.#options.signal)) {
      const item = compareExtents(pair);
      if (this.#options.strict === true && item.differsInAllocation) {
        this.#note({ offset: item.offset, reason: "allocation" });
        break;
      }
      if (!(await this.#startAll(chunks.push(item)))) return;
    }
    await this.#startAll(chunks.end());
  }

  /** False if there is no point in going on. */
  async #startAll(items: readonly CompareItem[]): Promise<boolean> {
    for (const item of items) {
      if (item.kind === "equal") {
        this.#report(item.length);
        continue;
      }
      if (!(await this.#tasks.vacancy()) || (this.#finding?.offset ?? item.offset) < item.offset)
        return false;
      this.#tasks.start(() => this.#compare(item));
    }
    return true;
  }

  async #compare(item: CompareItem): Promise<void> {
    const buffers = [this.#buffers.take(), this.#buffers.take()] as const;
    try {
      const [first, second] = [buffers[0].subarray(0, item.length), buffers[1].subarray(0, item.length)];
      if (item.kind === "both") {
        // Both reads have to have ended before the buffers are given back.
        const reads = [
          this.#read(this.#options.first, item, first),
          this.#read(this.#options.second, item, second),
        ];
        const succeeded = await Promise.all(reads);
        if (succeeded.every(Boolean)) this.#notePosition(item, this.#firstDifference(first, second));
      } else {
        const disk = item.kind === "first" ? this.#options.first : this.#options.second;
        if (await this.#read(disk, item, first)) this.#notePosition(item, this.#firstNonZero(first));
      }
      this.#report(item.length);
    } finally {
      for (const buffer of buffers) this.#buffers.give(buffer);
    }
  }

  /** False, and noted, if the disk cannot be read. */
  async #read(disk: Disk, item: CompareItem, into: Uint8Array): Promise<boolean> {
    try {
      await disk.read({ offset: item.offset, into });
      return true;
    } catch (cause) {
      if (isQcow2Error(cause)) this.#noteFailure("read", { disk, offset: item.offset }, cause);
      else this.#tasks.fail(cause);
      return false;
    }
  }

  #firstDifference(first: Uint8Array, second: Uint8Array): number | undefined {
    const { equal } = this.#primitives;
    if (equal(first, second, 0, first.length)) return undefined;
    return firstSector(first.length, (start, end) => !equal(first, second, start, end));
  }

  #firstNonZero(bytes: Uint8Array): number | undefined {
    const { isZero } = this.#primitives;
    if (isZero(bytes, 0, bytes.length)) return undefined;
    return firstSector(bytes.length, (start, end) => !isZero(bytes, start, end));
  }

  #notePosition(item: CompareItem, position: number | undefined): void {
    if (position !== undefined) this.#note({ offset: item.offset + position, reason: "content" });
  }

  #noteFailure(
    operation: "read" | "map",
    at: { readonly disk: Disk; readonly offset: number },
    cause: Qcow2Error,
  ): void {
    const message = `Error while reading offset ${at.offset} of ${at.disk.name}: ${cause.message}`;
    const data = { operation, name: at.disk.name, offset: at.offset };
    this.#note({ offset: at.offset, error: new Qcow2Error("io", message, data, { cause }) });
  }

  #note(finding: Finding): void {
    if (this.#finding === undefined || finding.offset < this.#finding.offset) this.#finding = finding;
  }

  #report(bytes: number): void {
    const { first, second, onProgress } = this.#options;
    this.#bytesDone += bytes;
    onProgress?.(this.#bytesDone, Math.max(first.size, second.size));
  }
}

/** Start of the first sector for which `matches` holds. */
function firstSector(length: number, matches: (start: number, end: number) => boolean): number | undefined {
  for (let start = 0; start < length; start += SECTOR_SIZE) {
    if (matches(start, Math.min(length, start + SECTOR_SIZE))) return start;
  }
  return undefined;
}
