/** How many references there are to each host cluster of one window of the image file, counted fast. */
import type { Geometry } from "../../format/geometry.ts";
import { decodeCompressedDescriptor, isCompressed } from "../../format/l2-entry.ts";

/** Counts stop here; whoever reads one takes it for "too many". */
export const MAX_COUNT = 0xffff;

/** Clusters of a page, as a power of two. */
const PAGE_BITS = 12;

const OFFSET_HIGH = 0x00ffffff;
const OFFSET_LOW = 0xfffffe00;

export class ReferenceCounts {
  /** First cluster of the window. */
  first = 0;
  /** Cluster after the last one of the window. */
  end = 0;
  /** References found so far, by cluster - first. */
  counts: Uint16Array = new Uint16Array(0);
  /** By page of the window: 1 where anything was counted. */
  #touched: Uint8Array = new Uint8Array(0);
  /** References that are no whole clusters, or reach beyond what a number can say. */
  damaged = 0;
  readonly #geometry: Geometry;
  readonly #clustersPerByte: number;
  /** Called for each cluster outside the window. */
  readonly #outside: (cluster: number) => void;

  constructor(geometry: Geometry, outside: (cluster: number) => void) {
    this.#geometry = geometry;
    this.#clustersPerByte = 1 / geometry.clusterSize;
    this.#outside = outside;
  }

  /** Moves the window to [first, end) and forgets all counts. */
  moveTo(first: number, end: number): void {
    this.first = first;
    this.end = end;
    this.damaged = 0;
    if (this.counts.length < end - first) this.counts = new Uint16Array(end - first);
    else this.counts.fill(0);
    this.#touched = new Uint8Array(((end - first) >>> PAGE_BITS) + 1);
  }

  /** False if nothing was counted for clusters first .. end (exclusive); true may be said of their neighbours' sake. */
  mayHave(first: number, end: number): boolean {
    const last = (end - 1 - this.first) >>> PAGE_BITS;
    return this.#touched.subarray((first - this.first) >>> PAGE_BITS, last + 1).includes(1);
  }

  /** Counts references to one cluster. */
  add(cluster: number, weight: number): void {
    const index = cluster - this.first;
    if (index < 0 || cluster >= this.end) {
      this.#outside(cluster);
      return;
    }
    this.#touched[index >>> PAGE_BITS] = 1;
    this.counts[index] = Math.min((this.counts[index] as number) + weight, MAX_COUNT);
  }

  /** Counts references to every cluster that `length` bytes at `offset` touch. */
  addExtent(offset: number, length: number, weight: number): void {
    if (length <= 0) return;
    const { clusterSize } = this.#geometry;
    if (!(offset + length <= Number.MAX_SAFE_INTEGER)) {
      this.damaged++;
      return;
    }
    const last = Math.floor((offset + length - 1) / clusterSize);
    for (let cluster = Math.floor(offset / clusterSize); cluster <= last; cluster++) {
      this.add(cluster, weight);
    }
  }

  /** Counts what the L2 table at byte `start` of `view` refers to. */
  addL2Table(view: DataView, start: number, weight: number): void {
    const { l2EntryBytes, clusterSize } = this.#geometry;
    const { counts, first } = this;
    const clustersPerByte = this.#clustersPerByte;
    const size = this.end - first;
    const touched = this.#touched;
    for (let at = start; at < start + clusterSize; at += l2EntryBytes) {
      const high = view.getUint32(at);
      const low = view.getUint32(at + 4);
      if ((high | low) === 0) continue;
      if (isCompressed(high)) {
        const { offset, length } = decodeCompressedDescriptor(this.#geometry, high, low);
        this.addExtent(offset, length, weight);
        continue;
      }
      const cluster = ((high & OFFSET_HIGH) * 2 ** 32 + ((low & OFFSET_LOW) >>> 0)) * clustersPerByte;
      if (cluster === 0) continue;
      const index = cluster - first;
      if (index >= 0 && index < size) {
        const count = counts[index];
        // Undefined between two clusters: an offset that is none.
        if (count === undefined) this.damaged++;
        else {
          counts[index] = count + weight < MAX_COUNT ? count + weight : MAX_COUNT;
          touched[index >>> PAGE_BITS] = 1;
        }
      } else if (cluster === Math.floor(cluster)) {
        this.#outside(cluster);
      } else {
        this.damaged++;
      }
    }
  }
}
