/** A set of L2 tables by host offset, each with how often it is referenced, in bounded memory. */

/** References are taken in batches of this many between two merges. */
const STAGING_ENTRIES = 32768;
/** Offsets are multiples of 512, so that the lowest bit can say which L1 table the reference came from. */
const ACTIVE_BIT = 1;

/**
 * Each table is looked at once however many L1 tables share it: that is what makes snapshots cheap, and it keeps an
 * image whose L1 entries all point at one table from taking forever. Going through the tables in the order of their
 * offsets also lets neighbours be read together.
 */
export class L2TableSet {
  readonly #capacity: number;
  #offsets: Float64Array;
  #weights: Float64Array;
  #size = 0;
  readonly #staging: Float64Array;
  #staged = 0;
  #stagedWeight = 0;

  /** `expected` is the largest number of references that will be added, `limit` bounds the memory in entries. */
  constructor(expected: number, limit: number) {
    this.#staging = new Float64Array(Math.max(1, Math.min(expected, STAGING_ENTRIES)));
    this.#capacity = Math.max(1, Math.min(expected, Math.max(limit, 2 * STAGING_ENTRIES)));
    this.#offsets = new Float64Array(this.#capacity);
    this.#weights = new Float64Array(this.#capacity);
  }

  /** Most references that can be added after one call of {@link hasRoom}. */
  static readonly pieceEntries: number = STAGING_ENTRIES;

  /** True if `count` more references fit, however many of them are new. */
  hasRoom(count: number): boolean {
    return this.#size + this.#staged + count <= this.#capacity;
  }

  /** Adds `weight` references to the table at `offset`, a multiple of 512 below 2^53. */
  add(offset: number, active: boolean, weight: number): void {
    if (this.#staged === this.#staging.length || this.#stagedWeight !== weight) this.#merge();
    this.#stagedWeight = weight;
    this.#staging[this.#staged++] = offset + (active ? ACTIVE_BIT : 0);
  }

  clear(): void {
    this.#size = 0;
    this.#staged = 0;
  }

  /** The tables in ascending order of their offsets; the set is not to be changed while they are in use. */
  tables(): L2Tables {
    this.#merge();
    return joinActive(this.#offsets.subarray(0, this.#size), this.#weights.subarray(0, this.#size));
  }

  /** Merges the staged references backwards into the sorted ones, then closes the gaps that duplicates leave. */
  #merge(): void {
    if (this.#staged === 0) return;
    const staged = this.#staging.subarray(0, this.#staged).sort();
    const offsets = this.#offsets;
    const weights = this.#weights;
    let write = this.#size + staged.length;
    let old = this.#size - 1;
    for (let fresh = staged.length - 1; fresh >= 0; ) {
      const value = staged[fresh] as number;
      write--;
      if (old >= 0 && (offsets[old] as number) > value) {
        offsets[write] = offsets[old] as number;
        weights[write] = weights[old--] as number;
      } else {
        offsets[write] = value;
        weights[write] = this.#stagedWeight;
        fresh--;
      }
    }
    const total = this.#size + staged.length;
    let size = 0;
    for (let read = 0; read < total; read++) {
      if (size > 0 && offsets[size - 1] === offsets[read]) {
        weights[size - 1] = (weights[size - 1] as number) + (weights[read] as number);
      } else {
        offsets[size] = offsets[read] as number;
        weights[size++] = weights[read] as number;
      }
    }
    this.#size = size;
    this.#staged = 0;
  }
}

/** L2 tables with their references from the active L1 table and from all L1 tables together. */
export interface L2Tables {
  readonly count: number;
  readonly offsets: Float64Array;
  readonly activeWeights: Float64Array;
  readonly totalWeights: Float64Array;
}

/** Joins the two entries that a table has if it is referenced from the active L1 table and from a snapshot's. */
function joinActive(keys: Float64Array, weights: Float64Array): L2Tables {
  const offsets = new Float64Array(keys.length);
  const activeWeights = new Float64Array(keys.length);
  const totalWeights = new Float64Array(keys.length);
  let count = 0;
  for (let read = 0; read < keys.length; read++) {
    const key = keys[read] as number;
    const weight = weights[read] as number;
    const active = key % 2 === ACTIVE_BIT ? weight : 0;
    const offset = key - (key % 2);
    if (count > 0 && offsets[count - 1] === offset) {
      activeWeights[count - 1] = (activeWeights[count - 1] as number) + active;
      totalWeights[count - 1] = (totalWeights[count - 1] as number) + weight;
    } else {
      offsets[count] = offset;
      activeWeights[count] = active;
      totalWeights[count++] = weight;
    }
  }
  return { count, offsets, activeWeights, totalWeights };
}
