/**
 * Planning a rebase: which ranges of an overlay have to be compared with its new backing file, in units of what the
 * overlay allocates at once. No I/O of its own.
 */

/** A guest range; bytes. */
export interface RebaseItem {
  readonly offset: number;
  /** Never 0; at most a chunk. */
  readonly length: number;
}

/**
 * What is known of a range.
 * - "defined": the overlay defines it, and no backing file is seen there.
 * - "equal": both backing files are known to read the same.
 * - "unknown": they have to be compared.
 */
export type RangeState = "defined" | "equal" | "unknown";

export interface RebasePlanOptions {
  /** Bytes of the overlay. */
  readonly size: number;
  /** Bytes of what the overlay allocates at once, a power of two. */
  readonly unitBytes: number;
  /** Longest item; a multiple of `unitBytes`. */
  readonly chunkBytes: number;
}

/**
 * Takes the states of ranges that lie gapless from 0 to the size, and answers with the items that are complete. An item
 * consists of whole units, except where the overlay defines a part of one: then it is the other part. An item is never
 * answered before its whole range is known, so that what is written for it changes nothing that is still to be mapped.
 */
export class RebasePlan {
  readonly #options: RebasePlanOptions;
  /** Where the range that the overlay does not define began. */
  #undefinedFrom = 0;
  /** Everything before was pushed. */
  #position = 0;
  /** What has to be compared and was not answered yet; empty if both are equal. */
  #start = 0;
  #end = 0;

  constructor(options: RebasePlanOptions) {
    this.#options = options;
  }

  push(state: RangeState, length: number): RebaseItem[] {
    const offset = this.#position;
    const items: RebaseItem[] = [];
    if (state === "defined") {
      this.#take(Math.min(this.#end, offset), items);
      this.#start = offset;
      this.#end = offset;
      this.#undefinedFrom = offset + length;
    } else if (state === "unknown") this.#add(offset, offset + length, items);
    this.#position += length;
    this.#takeChunks(items);
    return items;
  }

  end(): RebaseItem[] {
    const items: RebaseItem[] = [];
    this.#take(Math.min(this.#end, this.#options.size), items);
    return items;
  }

  #add(from: number, to: number, into: RebaseItem[]): void {
    const { unitBytes } = this.#options;
    const start = Math.max(Math.floor(from / unitBytes) * unitBytes, this.#undefinedFrom);
    if (this.#start === this.#end || start > this.#end) {
      this.#take(this.#end, into);
      this.#start = Math.max(start, this.#end);
    }
    this.#end = Math.ceil(to / unitBytes) * unitBytes;
  }

  /** Whole chunks, and everything whose end was passed. */
  #takeChunks(into: RebaseItem[]): void {
    const { chunkBytes } = this.#options;
    if (this.#end <= this.#position) {
      this.#take(this.#end, into);
      return;
    }
    const known = Math.floor(this.#position / chunkBytes) * chunkBytes;
    if (known > this.#start) this.#take(known, into);
  }

  /** Answers what is pending before `end`. */
  #take(end: number, into: RebaseItem[]): void {
    const { chunkBytes } = this.#options;
    while (this.#start < end) {
      const boundary = (Math.floor(this.#start / chunkBytes) + 1) * chunkBytes;
      const length = Math.min(boundary, end) - this.#start;
      into.push({ offset: this.#start, length });
      this.#start += length;
    }
  }
}
