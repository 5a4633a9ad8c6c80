/** The entries of one L2 table: what they refer to, and what they must not contain. */
import { decodeCompressedDescriptor, isCompressed, isCopied } from "../../format/l2-entry.ts";
import type { CheckFinding } from "../check-result.ts";
import type { CheckContext } from "./check-context.ts";
import { guestOffsetOfL2Table } from "./check-l1.ts";
import { hexHalves } from "./check-report.ts";
import { FLAG_STORED_ONE, FLAG_STORED_UNKNOWN, KIND_MASK, KIND_OVERLAP } from "./reference-window.ts";

/**
 * Bits 56-61 and 1-8 of a standard descriptor. Bit 0 is left out even with extended L2 entries, where it is
 * reserved too: QEMU accepts it.
 */
const RESERVED_HIGH = 0x3f000000;
const RESERVED_LOW = 0x000001fe;
const OFFSET_HIGH = 0x00ffffff;
const OFFSET_LOW = 0xfffffe00;
const ZERO_FLAG = 1;

/** One L2 table in memory. */
export interface LoadedL2Table {
  readonly offset: number;
  readonly view: DataView;
  /** Position in `view` of the table's first byte. */
  readonly start: number;
  /** References from the active L1 table, and from all L1 tables: each entry counts as often. */
  readonly active: number;
  readonly total: number;
}

/** Checks one table after the other. It is the check's inner loop: plain numbers, no allocation unless it finds something. */
export class L2TableChecker {
  readonly #context: CheckContext;
  #table!: LoadedL2Table;
  /** COPIED flags mean something only where the active L1 table leads. */
  #checksCopied = false;
  /** Where the next cluster would have to lie for the file not to be fragmented; 0 at the start of a table. */
  #nextContiguous = 0;
  /** Entries whose COPIED flag depends on a refcount that has to be read first. */
  #elsewhere: number[] = [];
  #guestOffset: number | undefined;
  #guestOffsetIsKnown = false;

  constructor(context: CheckContext) {
    this.#context = context;
  }

  check(table: LoadedL2Table): void {
    const { geometry, stored, hasDataFile } = this.#context;
    const { extendedL2, l2EntryBytes, clusterSize } = geometry;
    const { view, start } = table;
    this.#table = table;
    this.#checksCopied =
      table.active > 0 && table.offset !== 0 && !stored.isUnknown(Math.floor(table.offset / clusterSize));
    this.#nextContiguous = 0;
    this.#guestOffsetIsKnown = false;
    for (let at = start; at < start + clusterSize; at += l2EntryBytes) {
      const high = view.getUint32(at);
      const low = view.getUint32(at + 4);
      if ((high | low) === 0 && !extendedL2) continue;
      if (isCompressed(high)) {
        this.#checkCompressed(at, high, low);
        continue;
      }
      const offset = (high & OFFSET_HIGH) * 2 ** 32 + ((low & OFFSET_LOW) >>> 0);
      // Offset 0 is a cluster only in a data file, where the COPIED flag tells it from "none".
      const isZeroCluster = (low & ZERO_FLAG) !== 0 && !extendedL2;
      const isAllocated = offset !== 0 || (hasDataFile && !isZeroCluster && isCopied(high));
      if (this.#context.window.isFirstPass) this.#checkStandard(at, high, low, isAllocated, offset);
      if (isAllocated && !hasDataFile) this.#countStandard(at, high, offset);
    }
  }

  /** True if {@link checkRefcountsElsewhere} has to be called before the next table: hardly ever. */
  get needsRefcounts(): boolean {
    return this.#elsewhere.length > 0;
  }

  /** Finishes what {@link check} could not do without reading. */
  async checkRefcountsElsewhere(): Promise<void> {
    const { geometry, stored } = this.#context;
    const { view } = this.#table;
    for (const at of this.#elsewhere) {
      const high = view.getUint32(at);
      const offset = (high & OFFSET_HIGH) * 2 ** 32 + ((view.getUint32(at + 4) & OFFSET_LOW) >>> 0);
      const refcount = await stored.refcount(Math.floor(offset / geometry.clusterSize));
      if (refcount !== undefined) this.#checkCopied(at, high, refcount === 1);
    }
    this.#elsewhere = [];
  }

  /** Everything about an entry that does not depend on reference counts. */
  #checkStandard(at: number, high: number, low: number, isAllocated: boolean, offset: number): void {
    const { geometry, report, hasDataFile } = this.#context;
    if ((high & RESERVED_HIGH) !== 0 || (low & RESERVED_LOW) !== 0) {
      this.#report(at, "reserved-bits", "has reserved bits set");
    }
    if (geometry.extendedL2) this.#checkSubclusters(at, isAllocated);
    if (!isAllocated) return;
    if (offset % geometry.clusterSize !== 0) {
      this.#report(at, "unaligned", "points at a cluster that is not aligned");
    }
    // Clusters of a data file have no refcount; they count as used once.
    if (hasDataFile && this.#checksCopied) this.#checkCopied(at, high, true);
    report.allocatedClusters += this.#table.active;
    if (this.#nextContiguous !== 0 && offset !== this.#nextContiguous) {
      report.fragmentedClusters += this.#table.active;
    }
    this.#nextContiguous = offset + geometry.clusterSize;
  }

  #checkSubclusters(at: number, isAllocated: boolean): void {
    const zeroBits = this.#table.view.getUint32(at + 8);
    const allocatedBits = this.#table.view.getUint32(at + 12);
    if (isAllocated && (zeroBits & allocatedBits) !== 0) {
      this.#report(at, "invalid-entry", "has subclusters that are both allocated and zero");
    } else if (!isAllocated && allocatedBits !== 0) {
      this.#report(at, "invalid-entry", "has allocated subclusters but no cluster");
    }
  }

  #countStandard(at: number, high: number, offset: number): void {
    const { geometry, window, fileSize } = this.#context;
    const cluster = Math.floor(offset / geometry.clusterSize);
    if (offset >= fileSize) {
      if (window.isFirstPass) this.#countBeyondEnd(at, high, offset, cluster);
      return;
    }
    const isAligned = cluster * geometry.clusterSize === offset;
    if (cluster < window.first || cluster >= window.end) {
      // An unaligned cluster reaches into the next one, which may be the first of the window.
      if (!isAligned) window.countRange(offset, geometry.clusterSize, this.#table.total, "A guest cluster");
      return;
    }
    const index = cluster - window.first;
    const flags = window.flags[index] as number;
    if ((flags & KIND_MASK) !== 0) window.flags[index] = flags | KIND_OVERLAP;
    const count = (window.counts[index] as number) + this.#table.total;
    if (isAligned && count <= window.maximum) window.counts[index] = count;
    else window.countRange(offset, geometry.clusterSize, this.#table.total, "A guest cluster");
    if (this.#checksCopied && (flags & FLAG_STORED_UNKNOWN) === 0) {
      this.#checkCopied(at, high, (flags & FLAG_STORED_ONE) !== 0);
    }
  }

  #countBeyondEnd(at: number, high: number, offset: number, cluster: number): void {
    const { geometry, window, stored } = this.#context;
    window.countRange(offset, geometry.clusterSize, this.#table.total, "A guest cluster");
    if (!this.#checksCopied) return;
    if (stored.isZeroWithoutReading(cluster)) this.#checkCopied(at, high, false);
    else this.#elsewhere.push(at);
  }

  #checkCompressed(at: number, high: number, low: number): void {
    const { geometry, window, report, hasDataFile } = this.#context;
    const { view, active, total } = this.#table;
    const hasBitmap = geometry.extendedL2 && (view.getUint32(at + 8) !== 0 || view.getUint32(at + 12) !== 0);
    if (window.isFirstPass) {
      if (isCopied(high)) this.#report(at, "copied-flag", "is compressed and has the COPIED flag");
      if (hasDataFile) this.#report(at, "invalid-entry", "is compressed in an image with a data file");
      else if (hasBitmap) this.#report(at, "invalid-entry", "is compressed and has a subcluster bitmap");
    }
    if (hasDataFile || hasBitmap) return;
    const { offset, length } = decodeCompressedDescriptor(geometry, high, low);
    window.countRange(offset, length, total, "A compressed cluster");
    window.noteGuestUse(offset, length);
    if (!window.isFirstPass) return;
    report.allocatedClusters += active;
    report.compressedClusters += active;
    // Compressed clusters share sectors with their neighbours, so each one costs a read of its own.
    report.fragmentedClusters += active;
  }

  #checkCopied(at: number, high: number, isStoredOne: boolean): void {
    if (isCopied(high) === isStoredOne) return;
    this.#report(
      at,
      "copied-flag",
      "has a COPIED flag that contradicts the refcount of its cluster",
      this.#table.active,
    );
  }

  #report(at: number, code: CheckFinding["code"], what: string, times: number = this.#table.total): void {
    const { view, start, offset } = this.#table;
    const { geometry, report } = this.#context;
    const index = (at - start) / geometry.l2EntryBytes;
    report.add(
      "corruption",
      code,
      () => {
        const entry = hexHalves(view.getUint32(at), view.getUint32(at + 4));
        const guestOffset = this.#tableGuestOffset();
        return {
          message: `Entry ${index} (${entry}) of the L2 table at 0x${offset.toString(16)} ${what}`,
          hostOffset: offset + index * geometry.l2EntryBytes,
          ...(guestOffset === undefined ? {} : { guestOffset: guestOffset + index * geometry.clusterSize }),
        };
      },
      times,
    );
  }

  /** Looked up once per table with findings: the L1 table has to be searched for it. */
  #tableGuestOffset(): number | undefined {
    if (!this.#guestOffsetIsKnown) {
      this.#guestOffset =
        this.#table.active > 0 ? guestOffsetOfL2Table(this.#context, this.#table.offset) : undefined;
      this.#guestOffsetIsKnown = true;
    }
    return this.#guestOffset;
  }
}
