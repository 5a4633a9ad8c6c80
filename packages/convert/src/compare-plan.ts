/** Comparing two maps: which ranges have to be read, and on which side. No I/O of its own. */
import type { Extent } from "@qcow2/core";

/**
 * One step of a comparison on a guest range.
 * - "equal": both sides are known to read as zeroes.
 * - "both": read and compare.
 * - "first" or "second": that side has to be zero, the other one is or has ended.
 */
export interface CompareItem {
  readonly kind: "equal" | "both" | "first" | "second";
  /** First guest byte. */
  readonly offset: number;
  /** Bytes; never 0. */
  readonly length: number;
  /** True if the two sides are stored differently, as `strict` sees it. */
  readonly differsInAllocation: boolean;
}

/** What both extents say about the range where they overlap, from `offset` on. One is missing where that disk has ended. */
export function compareExtents(options: {
  readonly offset: number;
  readonly first: Extent | undefined;
  readonly second: Extent | undefined;
}): CompareItem {
  const { offset, first, second } = options;
  const end = Math.min(endOf(first), endOf(second));
  const firstIsZero = first === undefined || first.kind === "zero";
  const secondIsZero = second === undefined || second.kind === "zero";
  const kind = firstIsZero ? (secondIsZero ? "equal" : "second") : secondIsZero ? "first" : "both";
  return { kind, offset, length: end - offset, differsInAllocation: isStoredDifferently(first, second) };
}

function endOf(extent: Extent | undefined): number {
  return extent === undefined ? Number.POSITIVE_INFINITY : extent.offset + extent.length;
}

/** What `qemu-img compare -s` compares: the block status, not where the bytes lie. */
function isStoredDifferently(first: Extent | undefined, second: Extent | undefined): boolean {
  if (first === undefined || second === undefined) return true;
  return (
    first.kind !== second.kind ||
    first.present !== second.present ||
    first.stored !== second.stored ||
    first.compressed !== second.compressed ||
    (first.hostOffset === undefined) !== (second.hostOffset === undefined)
  );
}

/** Joins neighbours of one kind and cuts them at multiples of `chunkBytes`, so that each fits a buffer. */
export class CompareChunks {
  readonly #chunkBytes: number;
  #kind: CompareItem["kind"] = "equal";
  #start = 0;
  #end = 0;

  constructor(chunkBytes: number) {
    this.#chunkBytes = chunkBytes;
  }

  /** The chunks that are complete now. */
  push(item: CompareItem): CompareItem[] {
    const chunks = item.kind === this.#kind ? [] : this.end();
    this.#kind = item.kind;
    this.#end = item.offset + item.length;
    for (;;) {
      const next = this.#kind === "equal" ? this.#end : this.#nextBoundary();
      if (next > this.#end || this.#start === this.#end) return chunks;
      this.#take(next, chunks);
    }
  }

  /** What is left. */
  end(): CompareItem[] {
    const chunks: CompareItem[] = [];
    if (this.#start < this.#end) this.#take(this.#end, chunks);
    return chunks;
  }

  #nextBoundary(): number {
    return (Math.floor(this.#start / this.#chunkBytes) + 1) * this.#chunkBytes;
  }

  #take(end: number, into: CompareItem[]): void {
    const [kind, offset] = [this.#kind, this.#start];
    into.push({ kind, offset, length: end - offset, differsInAllocation: false });
    this.#start = end;
  }
}
