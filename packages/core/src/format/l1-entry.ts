/** L1 table entries (specification: "L1 table entry"): 8 bytes, a cluster-aligned host offset and one flag. */
import { highHalf, joinHostOffset, lowHalf } from "./uint64.ts";

export const L1_ENTRY_BYTES = 8;
/** Bit 63: the refcount of the L2 table is exactly one, so it may be changed in place. */
const COPIED_HIGH = 0x80000000;
/** Bits 9-31 of the low half and 32-55 of the high half hold the offset; the rest is reserved. */
const OFFSET_LOW_MASK = 0xfffffe00;

/** Byte offset of the L2 table, 0 if there is none. May exceed 2^53 - 1 and be inexact in damaged images. */
export function l1EntryOffset(table: DataView, index: number): number {
  const at = index * L1_ENTRY_BYTES;
  return joinHostOffset(table.getUint32(at), table.getUint32(at + 4) & OFFSET_LOW_MASK);
}

/** The COPIED flag. */
export function l1EntryCopied(table: DataView, index: number): boolean {
  return table.getUint32(index * L1_ENTRY_BYTES) >= COPIED_HIGH;
}

/** True if a reserved bit (0-8, 56-62) is set. */
export function l1EntryHasReservedBits(table: DataView, index: number): boolean {
  const at = index * L1_ENTRY_BYTES;
  return (table.getUint32(at) & 0x7f000000) !== 0 || (table.getUint32(at + 4) & 0x1ff) !== 0;
}

export function setL1Entry(
  table: DataView,
  index: number,
  entry: { readonly offset: number; readonly copied: boolean },
): void {
  const at = index * L1_ENTRY_BYTES;
  table.setUint32(at, (highHalf(entry.offset) | (entry.copied ? COPIED_HIGH : 0)) >>> 0);
  table.setUint32(at + 4, lowHalf(entry.offset));
}
