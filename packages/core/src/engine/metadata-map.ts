/** Where each kind of metadata lies in the image file, kept up to date while the image is written. */
import { hostClusterOf } from "../format/geometry.ts";
import { L1_ENTRY_BYTES, l1EntryOffset } from "../format/l1-entry.ts";
import { refcountTableEntryOffset } from "../format/refcount-entry.ts";
import { viewOf } from "../format/uint64.ts";
import { MAX_L1_BYTES } from "../limits.ts";
import { ClusterSet } from "./cluster-set.ts";
import type { OpenImage } from "./open-image.ts";
import type { MetadataClass } from "./overlap-classes.ts";

/** Host bytes start .. end, exclusive. */
interface HostRange {
  readonly start: number;
  readonly end: number;
}

/** Metadata that a write would hit. */
export interface Overlap {
  readonly metadataClass: MetadataClass;
  /** Host byte offset of the metadata. */
  readonly offset: number;
}

/** Snapshot L1 tables are read in pieces of this size. */
const PIECE_BYTES = 65536;

export class MetadataMap {
  readonly #clusterSize: number;
  readonly #ranges = new Map<MetadataClass, HostRange>();
  readonly #sets = new Map<MetadataClass, ClusterSet>();
  /** Host clusters that were found to have no metadata in them: writes often follow each other within a cluster. */
  #clearStart = 0;
  #clearEnd = 0;

  private constructor(clusterSize: number) {
    this.#clusterSize = clusterSize;
  }

  /** Looks up the metadata of the classes that are checked. Only "inactive-l2" needs I/O. */
  static async load(image: OpenImage, classes: ReadonlySet<MetadataClass>): Promise<MetadataMap> {
    const { clusterSize } = image.layout.geometry;
    const map = new MetadataMap(clusterSize);
    const { l1 } = image.mapping;
    const { table } = image.refcounts;
    const { bitmaps, snapshotsOffset } = image.layout;
    const bitmapsStart = Number(bitmaps?.directoryOffset ?? 0);
    const ranges: Partial<Record<MetadataClass, HostRange>> = {
      "main-header": { start: 0, end: clusterSize },
      "active-l1": { start: l1.offset, end: l1.offset + l1.bytes.length },
      "refcount-table": { start: table.offset, end: table.offset + table.bytes.length },
      "snapshot-table": { start: snapshotsOffset, end: snapshotsOffset + image.snapshotTableBytes },
      "bitmap-directory": { start: bitmapsStart, end: bitmapsStart + Number(bitmaps?.directorySize ?? 0) },
    };
    for (const metadataClass of classes) {
      const range = ranges[metadataClass];
      if (range === undefined) map.#sets.set(metadataClass, new ClusterSet());
      else map.#ranges.set(metadataClass, range);
    }
    map.#addActiveL2Tables(image);
    map.#addRefcountBlocks(image);
    await map.#addInactiveTables(image);
    return map;
  }

  /** The first metadata that host bytes start .. end (exclusive) touch; `except` is what is being written itself. */
  find(start: number, end: number, except?: MetadataClass | undefined): Overlap | undefined {
    if (start >= this.#clearStart && end <= this.#clearEnd) return undefined;
    const first = Math.floor(start / this.#clusterSize);
    const endCluster = Math.ceil(end / this.#clusterSize);
    let isClear = except === undefined;
    for (const [metadataClass, range] of this.#ranges) {
      if (start < range.end && range.start < end && metadataClass !== except) {
        return { metadataClass, offset: range.start };
      }
      // The cluster that a table ends in may be written behind it; that says nothing about the whole cluster.
      if (first * this.#clusterSize < range.end && range.start < endCluster * this.#clusterSize)
        isClear = false;
    }
    for (const [metadataClass, set] of this.#sets) {
      if (metadataClass === except) continue;
      const cluster = set.firstIn(first, endCluster);
      if (cluster !== undefined) return { metadataClass, offset: cluster * this.#clusterSize };
    }
    if (isClear) {
      this.#clearStart = first * this.#clusterSize;
      this.#clearEnd = endCluster * this.#clusterSize;
    }
    return undefined;
  }

  /** A cluster became an L2 table of the active disk, or a refcount block. */
  add(metadataClass: "active-l2" | "refcount-block", cluster: number): void {
    this.#sets.get(metadataClass)?.add(cluster);
    this.#clearEnd = this.#clearStart;
  }

  /** The active disk does not use that L2 table any more. */
  deleteActiveL2(cluster: number): void {
    this.#sets.get("active-l2")?.delete(cluster);
  }

  /** The refcount table moved to host bytes start .. end (exclusive). */
  moveRefcountTable(start: number, end: number): void {
    this.#clearEnd = this.#clearStart;
    if (this.#ranges.has("refcount-table")) this.#ranges.set("refcount-table", { start, end });
  }

  #addActiveL2Tables({ mapping, layout }: OpenImage): void {
    this.#addL2Tables("active-l2", mapping.l1.view, layout.geometry);
  }

  #addL2Tables(
    metadataClass: "active-l2" | "inactive-l2",
    l1: DataView,
    geometry: OpenImage["layout"]["geometry"],
  ): void {
    const set = this.#sets.get(metadataClass);
    if (set === undefined) return;
    for (let index = 0; index < l1.byteLength / L1_ENTRY_BYTES; index++) {
      const offset = l1EntryOffset(l1, index);
      if (offset !== 0) set.add(hostClusterOf(geometry, offset));
    }
  }

  #addRefcountBlocks({ refcounts }: OpenImage): void {
    const set = this.#sets.get("refcount-block");
    if (set === undefined) return;
    for (let index = 0; index < refcounts.table.entries; index++) {
      const offset = refcountTableEntryOffset(refcounts.table.view, index);
      if (offset !== 0) set.add(hostClusterOf(refcounts.geometry, offset));
    }
  }

  async #addInactiveTables({ snapshots, layout, storage }: OpenImage): Promise<void> {
    const fileSize = await storage.size();
    const known = new Set<number>();
    for (const { l1TableOffset, l1Size } of snapshots) {
      const start = Number(l1TableOffset);
      // What is larger, or lies nowhere, is damaged, and is not read on trust; nor is one table that many snapshots name.
      const length = Math.min(l1Size * L1_ENTRY_BYTES, MAX_L1_BYTES, fileSize - start);
      if (length <= 0 || known.has(start)) continue;
      known.add(start);
      const set = this.#sets.get("inactive-l1");
      for (let at = start; set !== undefined && at < start + length; at += this.#clusterSize) {
        set.add(hostClusterOf(layout.geometry, at));
      }
      for (let at = 0; this.#sets.has("inactive-l2") && at < length; at += PIECE_BYTES) {
        const bytes = new Uint8Array(Math.min(PIECE_BYTES, length - at));
        const found = bytes.subarray(0, await storage.read(start + at, bytes));
        const whole = found.length - (found.length % L1_ENTRY_BYTES);
        this.#addL2Tables("inactive-l2", viewOf(found.subarray(0, whole)), layout.geometry);
      }
    }
  }
}
