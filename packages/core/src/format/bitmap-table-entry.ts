/** Bitmap table entries (specification: "Bitmap table"): 8 bytes, a host offset or a flag for "all ones". */
import { joinHostOffset } from "./uint64.ts";

export const BITMAP_TABLE_ENTRY_BYTES = 8;
/** Bits 56-63 and 1-8. */
const RESERVED_HIGH = 0xff000000;
const RESERVED_LOW = 0x000001fe;
const OFFSET_LOW = 0xfffffe00;
/** Bit 0, only without an offset: the bits of this cluster are all ones instead of all zeroes. */
const ALL_ONES_LOW = 0x00000001;

export interface BitmapTableEntry {
  /** Host offset of one cluster of bitmap data; 0 if it is not stored. */
  readonly offset: number;
  /** Only without an offset. */
  readonly allOnes: boolean;
  /** False if a reserved bit is set or the offset is not aligned to a cluster. */
  readonly isValid: boolean;
}

/** The entry at byte `at` of a bitmap table. */
export function bitmapTableEntry(table: DataView, at: number, clusterSize: number): BitmapTableEntry {
  const high = table.getUint32(at);
  const low = table.getUint32(at + 4);
  const offset = joinHostOffset(high, low & OFFSET_LOW);
  const allOnes = (low & ALL_ONES_LOW) !== 0;
  const hasReservedBits = (high & RESERVED_HIGH) !== 0 || (low & RESERVED_LOW) !== 0;
  const isValid = !hasReservedBits && (offset === 0 || (!allOnes && offset % clusterSize === 0));
  return { offset, allOnes: allOnes && offset === 0, isValid };
}
