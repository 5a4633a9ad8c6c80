/**
 * Reference counts of the host clusters in one window of the image file. A check of a large image moves the window
 * over the file in several passes, so that its memory is bounded by an option and not by the image.
 */
import type { Geometry } from "../../format/geometry.ts";
import { type CheckReport, hex } from "./check-report.ts";

/** The refcount stored in the image is exactly one. */
export const FLAG_STORED_ONE = 1;
/** What a cluster is used for, as far as it matters for overlaps: two bits. */
export const KIND_MASK = 6;
/** An L2 table; several L1 tables may share it. */
export const KIND_L2_TABLE = 2;
/** Any other metadata: it has exactly one use. */
export const KIND_METADATA = 4;
/** Metadata that is also something else. */
export const KIND_OVERLAP = 6;
/** The stored refcount cannot be found out. */
export const FLAG_STORED_UNKNOWN = 8;

export type CounterArray = Uint8Array | Uint16Array | Uint32Array;

export class ReferenceWindow {
  /** First cluster of the window. */
  first = 0;
  /** Cluster after the last one of the window. */
  end = 0;
  /** References found so far, by cluster - first; they stop at {@link maximum}. */
  readonly counts: CounterArray;
  /** FLAG_... and KIND_..., by cluster - first. */
  readonly flags: Uint8Array;
  /** The largest refcount that the image can store, or that is counted here. */
  readonly maximum: number;
  /** True during the first pass, which alone reports what does not belong to a cluster of the file. */
  isFirstPass = true;
  readonly #clusterSize: number;
  readonly #clusterBits: number;
  readonly #fileSize: number;
  readonly #report: CheckReport;
  /** Clusters at the start of the arrays that may have counts. */
  #used = 0;

  constructor(options: {
    readonly geometry: Geometry;
    /** Bytes, as the image's reader sees it. */
    readonly fileSize: number;
    /** Clusters that the window spans at most. */
    readonly capacity: number;
    readonly report: CheckReport;
  }) {
    const { geometry, capacity } = options;
    this.counts = createCounters(geometry.refcountBits, capacity);
    this.flags = new Uint8Array(capacity);
    this.maximum = Math.min(2 ** geometry.refcountBits - 1, 0xffffffff);
    this.#clusterSize = geometry.clusterSize;
    this.#clusterBits = geometry.clusterBits;
    this.#fileSize = options.fileSize;
    this.#report = options.report;
  }

  /** Bytes of memory that one cluster of a window takes. */
  static bytesPerCluster(refcountBits: number): number {
    return Math.max(8, Math.min(refcountBits, 32)) / 8 + 1;
  }

  /** Moves the window to [first, end), which is no larger than its capacity, and forgets all counts. */
  moveTo(first: number, end: number): void {
    this.isFirstPass = first === 0;
    this.first = first;
    this.end = end;
    // New arrays are zero, and their pages not there yet.
    this.counts.fill(0, 0, this.#used);
    this.flags.fill(0, 0, this.#used);
    this.#used = Math.max(this.#used, end - first);
  }

  /**
   * Counts references to all clusters that [offset, offset + length) touches. The last cluster of an image may lie
   * partly beyond the end of the file; a range that ends a cluster or more beyond it is damage.
   */
  countRange(offset: number, length: number, weight: number): void {
    if (length <= 0) return;
    if (this.isBeyondEnd(offset, length)) {
      this.#reportBeyondEnd(offset, length, weight);
      return;
    }
    const last = Math.min(Math.floor((offset + length - 1) / this.#clusterSize), this.end - 1);
    for (let cluster = Math.max(this.#clusterOf(offset), this.first); cluster <= last; cluster++) {
      this.countCluster(cluster, weight);
    }
  }

  /** Notes what the clusters of a range are used for, and where uses collide. */
  markRange(offset: number, length: number, kind: typeof KIND_L2_TABLE | typeof KIND_METADATA): void {
    if (length <= 0 || this.isBeyondEnd(offset, length)) return;
    const last = Math.min(Math.floor((offset + length - 1) / this.#clusterSize), this.end - 1);
    for (let cluster = Math.max(this.#clusterOf(offset), this.first); cluster <= last; cluster++) {
      const index = cluster - this.first;
      const flags = this.flags[index] as number;
      const present = flags & KIND_MASK;
      if (present === 0) this.flags[index] = flags | kind;
      else if (present !== kind || kind === KIND_METADATA) this.flags[index] = flags | KIND_OVERLAP;
    }
  }

  /** Notes that guest data lies in these clusters: where there is metadata already, they overlap. */
  noteGuestUse(offset: number, length: number): void {
    const last = Math.min(Math.floor((offset + length - 1) / this.#clusterSize), this.end - 1);
    for (let cluster = Math.max(this.#clusterOf(offset), this.first); cluster <= last; cluster++) {
      const index = cluster - this.first;
      const flags = this.flags[index] as number;
      if ((flags & KIND_MASK) !== 0) this.flags[index] = flags | KIND_OVERLAP;
    }
  }

  /** Counts references to a cluster that lies in the window; `refcountBlock` says which block the reference is to. */
  countCluster(cluster: number, weight: number, refcountBlock?: number): void {
    const index = cluster - this.first;
    const total = (this.counts[index] as number) + weight;
    if (total <= this.maximum) this.counts[index] = total;
    else this.#overflow(cluster, total - this.maximum, refcountBlock);
  }

  /** True if the range ends a whole cluster or more beyond the end of the file. */
  isBeyondEnd(offset: number, length: number): boolean {
    return offset + length - this.#fileSize >= this.#clusterSize;
  }

  #reportBeyondEnd(offset: number, length: number, weight: number): void {
    if (!this.isFirstPass) return;
    this.#report.add(
      "corruption",
      "beyond-end",
      () => ({
        message: `ERROR: counting reference for region exceeding the end of the file by one cluster or more: offset ${hex(offset)} size ${hex(length)}`,
        hostOffset: offset,
      }),
      weight,
    );
  }

  #clusterOf(offset: number): number {
    return Math.floor(offset / this.#clusterSize);
  }

  #overflow(cluster: number, excess: number, refcountBlock: number | undefined): void {
    const index = cluster - this.first;
    this.counts[index] = this.maximum;
    // This report covers the cluster; an overlap would be the same news twice.
    this.flags[index] = (this.flags[index] as number) & ~KIND_MASK;
    this.#report.add(
      "corruption",
      "refcount-overflow",
      () => ({
        message: `ERROR: overflow cluster offset=${hex(cluster * 2 ** this.#clusterBits)}`,
        hostOffset: cluster * 2 ** this.#clusterBits,
        ...(refcountBlock === undefined ? {} : { refcountBlock }),
      }),
      excess,
    );
  }
}

function createCounters(refcountBits: number, capacity: number): CounterArray {
  if (refcountBits <= 8) return new Uint8Array(capacity);
  return refcountBits === 16 ? new Uint16Array(capacity) : new Uint32Array(capacity);
}
