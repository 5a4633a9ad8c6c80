/**
 * Planning a copy: from what the source's map says to the operations that have to be done, without any I/O.
 * Extents are classified, joined, moved to the boundaries of the target's clusters, and split into
 * chunks; what needs no work never leaves the plan.
 */
import type { Extent } from "@qcow2/core";

/**
 * One operation on a guest range.
 * - "copy": read from the source and write, leaving out zeroes that are found.
 * - "fill": write zero bytes, because the caller wants everything written.
 * - "zero": make the target read as zeroes.
 */
export interface CopyItem {
  readonly kind: "copy" | "fill" | "zero";
  /** First guest byte. */
  readonly offset: number;
  /** Bytes; never 0. At most the chunk size, except for "zero". */
  readonly length: number;
}

/** What the target's backing file is known to provide. */
export interface SharedBacking {
  /** Source extents of this depth or deeper are left to the target's backing file. */
  readonly depth: number;
  /** Bytes of the source's layers at that depth; zeroes beyond are not left to the backing file. */
  readonly sourceSize: number;
  /** Bytes of the target's backing file; from there on the target reads as zeroes. Infinity if not known. */
  readonly targetSize: number;
}

export interface CopyPlanOptions {
  /** Bytes to copy: the source's virtual size. */
  readonly size: number;
  /** Longest "copy" or "fill"; items never cross a multiple of it. A multiple of `unitBytes`. */
  readonly chunkBytes: number;
  /**
   * What the target allocates at once. Units that are not all of a kind are copied as a whole: with compression
   * they have to be, and otherwise the target would have to fill up what is missing by itself.
   */
  readonly unitBytes: number;
  /** True if everything is to be written, zeroes too. */
  readonly writeEverything: boolean;
  /** True if the target reads as zeroes already. */
  readonly targetIsZero: boolean;
  readonly backing?: SharedBacking | undefined;
}

/** "keep": the target reads right without an operation. */
type Kind = CopyItem["kind"] | "keep";
type Sink = (kind: Kind, offset: number, length: number) => void;

/** Longest "zero": long enough to be rare, short enough that progress and cancelling are not held up. */
const MAX_ZERO_BYTES = 2 ** 30;

/** Takes a source's extents one after the other, which must lie gapless from 0 to the size, and answers with items. */
export class CopyPlan {
  readonly #options: CopyPlanOptions;
  readonly #chunks: ChunkSplitter;
  readonly #pieces: UnitAligner;
  #items: CopyItem[] = [];
  #position = 0;

  constructor(options: CopyPlanOptions) {
    this.#options = options;
    this.#chunks = new ChunkSplitter(options.chunkBytes, (item) => this.#items.push(item));
    this.#pieces = new UnitAligner(options.unitBytes, options.size, (kind, offset, length) =>
      this.#chunks.push(kind, offset, length),
    );
  }

  /** The items that are complete now that `extent` is known. */
  push(extent: Extent): CopyItem[] {
    if (extent.offset !== this.#position || extent.length <= 0) {
      throw new Error(`the source's map goes from ${this.#position} to ${extent.offset} (${extent.length})`);
    }
    this.#position += extent.length;
    this.#classify(extent);
    return this.#takeItems();
  }

  /** The remaining items, after the last extent. */
  end(): CopyItem[] {
    if (this.#position !== this.#options.size) {
      throw new Error(`the source's map ends at ${this.#position} instead of ${this.#options.size}`);
    }
    this.#pieces.end();
    this.#chunks.end();
    return this.#takeItems();
  }

  #takeItems(): CopyItem[] {
    const items = this.#items;
    if (items.length > 0) this.#items = [];
    return items;
  }

  #classify(extent: Extent): void {
    const { backing } = this.#options;
    if (backing === undefined) {
      this.#pieces.push(this.#kindOf(extent), extent.offset, extent.length);
      return;
    }
    for (let { offset, length } = extent; length > 0; ) {
      const count = Math.min(length, distanceToNext([backing.sourceSize, backing.targetSize], offset));
      this.#pieces.push(this.#kindAbove(backing, extent, offset), offset, count);
      offset += count;
      length -= count;
    }
  }

  #kindOf(extent: Extent): Kind {
    if (extent.kind === "data") return "copy";
    if (this.#options.writeEverything) return "fill";
    return this.#options.targetIsZero ? "keep" : "zero";
  }

  #kindAbove(backing: SharedBacking, extent: Extent, offset: number): Kind {
    if (extent.kind === "zero" && offset >= backing.targetSize) return "keep";
    if (extent.depth >= backing.depth && offset < backing.sourceSize) return "keep";
    return this.#kindOf(extent);
  }
}

/** Bytes from `offset` to the first of `limits` that lies behind it. */
function distanceToNext(limits: readonly number[], offset: number): number {
  let distance = Number.POSITIVE_INFINITY;
  for (const limit of limits) if (limit > offset) distance = Math.min(distance, limit - offset);
  return distance;
}

/** Moves boundaries to those of units: one that is not all of a kind is copied, so that it is written as a whole. */
class UnitAligner {
  readonly #unitBytes: number;
  readonly #diskSize: number;
  readonly #sink: Sink;
  #kind: Kind = "keep";
  #start = 0;
  #end = 0;

  constructor(unitBytes: number, diskSize: number, sink: Sink) {
    this.#unitBytes = unitBytes;
    this.#diskSize = diskSize;
    this.#sink = sink;
  }

  push(kind: Kind, offset: number, length: number): void {
    if (kind !== this.#kind) {
      this.end();
      this.#kind = kind;
      this.#start = offset;
    }
    this.#end = offset + length;
    // Anything else waits until another kind begins: its last unit may be shared.
    if (kind === "copy") this.end();
  }

  end(): void {
    const unitBytes = this.#unitBytes;
    const [start, end] = [this.#start, this.#end];
    this.#start = end;
    if (start === end) return;
    const firstWhole = Math.ceil(start / unitBytes) * unitBytes;
    const endWhole = end === this.#diskSize ? end : Math.floor(end / unitBytes) * unitBytes;
    if (this.#kind === "copy" || firstWhole >= endWhole) {
      this.#sink("copy", start, end - start);
      return;
    }
    if (start < firstWhole) this.#sink("copy", start, firstWhole - start);
    this.#sink(this.#kind, firstWhole, endWhole - firstWhole);
    if (endWhole < end) this.#sink("copy", endWhole, end - endWhole);
  }
}

/** Joins neighbours of one kind and cuts them where chunks end. */
class ChunkSplitter {
  readonly #chunkBytes: number;
  readonly #emit: (item: CopyItem) => void;
  #kind: Kind = "keep";
  #start = 0;
  #end = 0;

  constructor(chunkBytes: number, emit: (item: CopyItem) => void) {
    this.#chunkBytes = chunkBytes;
    this.#emit = emit;
  }

  push(kind: Kind, offset: number, length: number): void {
    if (kind !== this.#kind) {
      this.end();
      this.#kind = kind;
    }
    if (this.#start === this.#end) this.#start = offset;
    this.#end = offset + length;
    this.#emitWholeChunks();
  }

  end(): void {
    if (this.#kind !== "keep" && this.#start < this.#end) {
      this.#emit({ kind: this.#kind, offset: this.#start, length: this.#end - this.#start });
    }
    this.#start = this.#end;
  }

  #emitWholeChunks(): void {
    const kind = this.#kind;
    if (kind === "keep") {
      this.#start = this.#end;
      return;
    }
    const chunkBytes = kind === "zero" ? MAX_ZERO_BYTES : this.#chunkBytes;
    for (;;) {
      const next = (Math.floor(this.#start / chunkBytes) + 1) * chunkBytes;
      if (next > this.#end) return;
      this.#emit({ kind, offset: this.#start, length: next - this.#start });
      this.#start = next;
    }
  }
}
