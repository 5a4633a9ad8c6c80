/**
 * The bits of one persistent bitmap (specification: "Bitmap table", "Bitmap data"): bit n stands for the n-th granule of
 * the disk and is bit n % 8 of byte n / 8. They are read a cluster at a time, however large the bitmap is.
 */
import { Qcow2Error } from "../../errors.ts";
import type { BitmapDirectoryEntry } from "../../format/bitmap-directory.ts";
import { BITMAP_TABLE_ENTRY_BYTES, bitmapTableEntry } from "../../format/bitmap-table-entry.ts";
import { decodeStoredText } from "../../format/stored-text.ts";
import { viewOf } from "../../format/uint64.ts";
import { readExactly, readPresent } from "../../storage/read-exactly.ts";
import type { Storage } from "../../storage/storage.ts";
import { assertDistinct } from "../distinct-tables.ts";

/** Guest bytes start .. end (exclusive). */
export interface GuestRange {
  readonly start: number;
  readonly end: number;
}

export interface StoredBitmapOptions {
  readonly storage: Storage;
  readonly clusterSize: number;
  readonly entry: BitmapDirectoryEntry;
  /** The bitmap table; bigger by whole entries than the bits need, or exactly so. */
  readonly table: Uint8Array;
  /** Around each read of bitmap data; default: it is read as it is. */
  readonly guard?: ReadGuard | undefined;
}

/** Has `read` look at the file when nothing there is being replaced. */
export type ReadGuard = (read: () => Promise<void>) => Promise<void>;

export class StoredBitmap {
  /** Guest bytes that a bit stands for. */
  readonly granularity: number;
  /** Guest bytes that one cluster of bitmap data stands for. */
  readonly coverage: number;
  readonly #options: StoredBitmapOptions;

  constructor(options: StoredBitmapOptions) {
    this.#options = options;
    this.granularity = 2 ** options.entry.granularityBits;
    this.coverage = options.clusterSize * 8 * this.granularity;
  }

  /** @throws Qcow2Error "truncated", "io" */
  static async load(
    storage: Storage,
    clusterSize: number,
    entry: BitmapDirectoryEntry,
    guard?: ReadGuard,
  ): Promise<StoredBitmap> {
    const table = await readBitmapTable(storage, clusterSize, entry);
    return new StoredBitmap({ storage, clusterSize, entry, table, guard });
  }

  /**
   * The bits of the cluster of bitmap data of that index; undefined if all are 0, also behind the table's end.
   * @throws Qcow2Error "corrupt" if the table has no possible entry there, "truncated", "io"
   */
  async bitsAt(index: number): Promise<Uint8Array | undefined> {
    const bits = await this.#storedAt(index);
    return bits === "all ones" ? new Uint8Array(this.#options.clusterSize).fill(0xff) : bits;
  }

  /** As {@link bitsAt}; what is stored as a flag takes no memory. */
  async #storedAt(index: number): Promise<Uint8Array | "all ones" | undefined> {
    const { storage, clusterSize, table, entry, guard = (read) => read() } = this.#options;
    const at = index * BITMAP_TABLE_ENTRY_BYTES;
    if (at >= table.length) return undefined;
    const { offset, allOnes, isValid } = bitmapTableEntry(viewOf(table), at, clusterSize);
    if (!isValid) {
      throw new Qcow2Error(
        "corrupt",
        `The table of the bitmap '${decodeStoredText(entry.nameBytes)}' is damaged at index ${index}`,
        { structure: "bitmap table", offset: Number(entry.tableOffset) + at },
      );
    }
    if (allOnes) return "all ones";
    if (offset === 0) return undefined;
    const bits = new Uint8Array(clusterSize);
    await guard(() => readExactly(storage, offset, bits, "Bitmap data"));
    return bits;
  }

  /** The granules of start .. end that are set, joined, in order and clipped to it. */
  async *dirtyRanges({ start, end }: GuestRange): AsyncGenerator<GuestRange> {
    let open: { start: number; end: number } | undefined;
    for (let from = start; from < end; ) {
      const index = Math.floor(from / this.coverage);
      const to = Math.min(end, (index + 1) * this.coverage);
      for (const run of this.#runsOf(await this.#storedAt(index), index)) {
        const clipped = { start: Math.max(run.start, start), end: Math.min(run.end, end) };
        if (clipped.start >= clipped.end) continue;
        if (open !== undefined && open.end === clipped.start) open.end = clipped.end;
        else {
          if (open !== undefined) yield open;
          open = clipped;
        }
      }
      from = to;
    }
    if (open !== undefined) yield open;
  }

  #runsOf(bits: Uint8Array | "all ones" | undefined, index: number): Iterable<GuestRange> {
    const first = index * this.coverage;
    if (bits === undefined) return [];
    return bits === "all ones"
      ? [{ start: first, end: first + this.coverage }]
      : runsOf(bits, first, this.granularity);
  }
}

/** The table of a bitmap. @throws Qcow2Error "corrupt", "truncated", "io" */
export async function readBitmapTable(
  storage: Storage,
  clusterSize: number,
  { tableOffset, tableSize }: BitmapDirectoryEntry,
): Promise<Uint8Array<ArrayBuffer>> {
  const location = { offset: Number(tableOffset), length: tableSize * BITMAP_TABLE_ENTRY_BYTES };
  const table = await readPresent(storage, location, "Bitmap table");
  const view = viewOf(table);
  assertDistinct(Math.ceil((await storage.size()) / clusterSize), {
    structure: "Bitmap table",
    entries: tableSize,
    offsetAt: (index) => bitmapTableEntry(view, index * BITMAP_TABLE_ENTRY_BYTES, clusterSize).offset,
  });
  return table;
}

/** The set bits as guest ranges; bit 0 stands for the granule at `first`. */
function* runsOf(bits: Uint8Array, first: number, granularity: number): Generator<GuestRange> {
  let start: number | undefined;
  for (let byte = 0; byte < bits.length; byte++) {
    const value = bits[byte] as number;
    if (start === undefined ? value === 0 : value === 0xff) continue;
    for (let bit = 0; bit < 8; bit++) {
      const isSet = (value & (1 << bit)) !== 0;
      if (isSet === (start !== undefined)) continue;
      const at = first + (byte * 8 + bit) * granularity;
      if (start === undefined) start = at;
      else {
        yield { start, end: at };
        start = undefined;
      }
    }
  }
  if (start !== undefined) yield { start, end: first + bits.length * 8 * granularity };
}

/** Sets the bits first .. end (exclusive). */
export function setBits(bits: Uint8Array, first: number, end: number): void {
  changeBits(bits, first, end, true);
}

/** Clears the bits first .. end (exclusive). */
export function clearBits(bits: Uint8Array, first: number, end: number): void {
  changeBits(bits, first, end, false);
}

function changeBits(bits: Uint8Array, first: number, end: number, value: boolean): void {
  const apply = (byte: number, mask: number): void => {
    bits[byte] = value ? (bits[byte] as number) | mask : (bits[byte] as number) & ~mask;
  };
  const firstByte = Math.floor(first / 8);
  const lastByte = Math.floor((end - 1) / 8);
  if (first >= end) return;
  const headMask = 0xff << (first % 8);
  const tailMask = 0xff >> (7 - ((end - 1) % 8));
  if (firstByte === lastByte) {
    apply(firstByte, headMask & tailMask & 0xff);
    return;
  }
  apply(firstByte, headMask & 0xff);
  bits.fill(value ? 0xff : 0, firstByte + 1, lastByte);
  apply(lastByte, tailMask);
}
