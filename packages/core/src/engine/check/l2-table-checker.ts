/** The entries of one L2 table: what they refer to, and what they must not contain. */
import { decodeCompressedDescriptor, isCompressed, isCopied } from "../../format/l2-entry.ts";
import type { CheckFinding } from "../check-result.ts";
import type { CheckContext } from "./check-context.ts";
import { guestOffsetOfL2Table } from "./check-l1.ts";
import { hex, hexHalves } from "./check-report.ts";
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
  /** Entries for whose COPIED flag a refcount has to be read: those that contradict it, and those behind the file's end. */
  #copiedToRead: number[] = [];
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

  /** True if {@link checkCopiedFlags} has to be called before the next table: hardly ever. */
  get needsRefcounts(): boolean {
    return this.#copiedToRead.length > 0;
  }

  /** Finishes what {@link check} could not do without reading. */
  async checkCopiedFlags(): Promise<void> {
    const { geometry, stored, hasDataFile } = this.#context;
    const { view } = this.#table;
    for (const at of this.#copiedToRead) {
      const high = view.getUint32(at);
      const offset = (high & OFFSET_HIGH) * 2 ** 32 + ((view.getUint32(at + 4) & OFFSET_LOW) >>> 0);
      // Clusters of a data file have no refcount; they count as used once.
      const refcount = hasDataFile ? 1 : await stored.refcount(Math.floor(offset / geometry.clusterSize));
      if (refcount !== undefined) this.#reportCopied(at, high, refcount);
    }
    this.#copiedToRead = [];
  }

  /** Everything about an entry that does not depend on reference counts. */
  #checkStandard(at: number, high: number, low: number, isAllocated: boolean, offset: number): void {
    const { geometry, report, hasDataFile } = this.#context;
    if ((high & RESERVED_HIGH) !== 0 || (low & RESERVED_LOW) !== 0) {
      this.#report(at, "reserved-bits", (entry) => ` found l2 entry with reserved bits set: ${entry}`);
    }
    if (geometry.extendedL2) this.#checkSubclusters(at, isAllocated, offset);
    if (!isAllocated) return;
    if (offset % geometry.clusterSize !== 0) {
      const what = this.#containsData(at, low) ? "Data" : "Preallocated";
      this.#report(at, "unaligned", () => {
        return ` offset=${offset.toString(16)}: ${what} cluster is not properly aligned; L2 entry corrupted.`;
      });
    }
    if (hasDataFile && this.#checksCopied && !isCopied(high)) this.#copiedToRead.push(at);
    report.allocatedClusters += this.#table.active;
    if (this.#nextContiguous !== 0 && offset !== this.#nextContiguous) {
      report.fragmentedClusters += this.#table.active;
    }
    this.#nextContiguous = offset + geometry.clusterSize;
  }

  #containsData(at: number, low: number): boolean {
    if (!this.#context.geometry.extendedL2) return (low & ZERO_FLAG) === 0;
    return this.#table.view.getUint32(at + 12) !== 0;
  }

  #checkSubclusters(at: number, isAllocated: boolean, offset: number): void {
    const zeroBits = this.#table.view.getUint32(at + 8);
    const allocatedBits = this.#table.view.getUint32(at + 12);
    if (isAllocated && (zeroBits & allocatedBits) !== 0) {
      this.#report(at, "invalid-entry", () => {
        return ` offset=${offset.toString(16)}: Allocated cluster has corrupted subcluster allocation bitmap`;
      });
    } else if (!isAllocated && allocatedBits !== 0) {
      this.#report(at, "invalid-entry", () => {
        return ": Unallocated cluster has non-zero subcluster allocation map";
      });
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
      if (!isAligned) window.countRange(offset, geometry.clusterSize, this.#table.total);
      return;
    }
    const index = cluster - window.first;
    const flags = window.flags[index] as number;
    if ((flags & KIND_MASK) !== 0) window.flags[index] = flags | KIND_OVERLAP;
    const count = (window.counts[index] as number) + this.#table.total;
    if (isAligned && count <= window.maximum) window.counts[index] = count;
    else window.countRange(offset, geometry.clusterSize, this.#table.total);
    if (this.#checksCopied && (flags & FLAG_STORED_UNKNOWN) === 0) {
      if (isCopied(high) !== ((flags & FLAG_STORED_ONE) !== 0)) this.#copiedToRead.push(at);
    }
  }

  #countBeyondEnd(at: number, high: number, offset: number, cluster: number): void {
    const { geometry, window, stored } = this.#context;
    window.countRange(offset, geometry.clusterSize, this.#table.total);
    if (!this.#checksCopied || (stored.isZeroWithoutReading(cluster) && !isCopied(high))) return;
    this.#copiedToRead.push(at);
  }

  #checkCompressed(at: number, high: number, low: number): void {
    const { geometry, window, report, hasDataFile } = this.#context;
    const { view, active, total } = this.#table;
    const hasBitmap = geometry.extendedL2 && (view.getUint32(at + 8) !== 0 || view.getUint32(at + 12) !== 0);
    if (window.isFirstPass) {
      const place = `compressed cluster ${(at - this.#table.start) / geometry.l2EntryBytes}`;
      if (isCopied(high)) {
        this.#report(at, "copied-flag", () => {
          const { offset } = decodeCompressedDescriptor(geometry, high, low);
          return `: coffset=${hex(offset)}: copied flag must never be set for compressed clusters`;
        });
      }
      if (hasDataFile) {
        this.#report(at, "invalid-entry", (entry) => ` ${place} with data file, entry=0x${entry}`);
      } else if (hasBitmap) {
        this.#report(at, "invalid-entry", (entry) => {
          return ` ${place} with non-zero subcluster allocation bitmap, entry=0x${entry}`;
        });
      }
    }
    if (hasDataFile || hasBitmap) return;
    const { offset, length } = decodeCompressedDescriptor(geometry, high, low);
    window.countRange(offset, length, total);
    window.noteGuestUse(offset, length);
    if (!window.isFirstPass) return;
    report.allocatedClusters += active;
    report.compressedClusters += active;
    // Compressed clusters share sectors with their neighbours, so each one costs a read of its own.
    report.fragmentedClusters += active;
  }

  #reportCopied(at: number, high: number, refcount: number): void {
    if (isCopied(high) === (refcount === 1)) return;
    this.#context.report.addLate(
      "copied-flag",
      () => ({ message: `ERROR ${describeL2Copied(this.#entryText(at), refcount)}`, ...this.#place(at) }),
      this.#table.active,
    );
  }

  #report(at: number, code: CheckFinding["code"], message: (entry: string) => string): void {
    this.#context.report.add(
      "corruption",
      code,
      () => ({ message: `ERROR${message(this.#entryText(at))}`, ...this.#place(at) }),
      this.#table.total,
    );
  }

  #entryText(at: number): string {
    const { view } = this.#table;
    return hexHalves(view.getUint32(at), view.getUint32(at + 4));
  }

  #place(at: number): { readonly hostOffset: number; readonly guestOffset?: number } {
    const { start, offset } = this.#table;
    const { geometry } = this.#context;
    const index = (at - start) / geometry.l2EntryBytes;
    const guestOffset = this.#tableGuestOffset();
    return {
      hostOffset: offset + index * geometry.l2EntryBytes,
      ...(guestOffset === undefined ? {} : { guestOffset: guestOffset + index * geometry.clusterSize }),
    };
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

/** As `qemu-img check` describes it; `entry` is hexadecimal. */
export function describeL2Copied(entry: string, refcount: number): string {
  return `OFLAG_COPIED data cluster: l2_entry=${entry} refcount=${refcount}`;
}
