/**
 * L2 table entries (specification: "L2 table entry", "Standard Cluster Descriptor", "Compressed Clusters
 * Descriptor", "Extended L2 Entries"), read in place from a big-endian table.
 *
 * The compressed flag is tested first: a compressed descriptor uses bit 0 for its offset, so testing the zero
 * flag before it turns data into zeroes.
 */
import type { Geometry } from "./geometry.ts";
import { highHalf, joinHostOffset, lowHalf } from "./uint64.ts";

/** Bit 63: the refcount of the cluster is exactly one. */
const COPIED_HIGH = 0x80000000;
/** Bit 62: the entry is a compressed cluster descriptor. */
const COMPRESSED_HIGH = 0x40000000;
/** Bit 0 of a standard descriptor: the cluster reads as zeroes (version 3 only, never with extended L2). */
const ZERO_LOW = 0x00000001;
/** Bits 9-31 of the low half; the high half contributes bits 32-55. */
const OFFSET_LOW_MASK = 0xfffffe00;
/** Compressed lengths count in these. */
const COMPRESSED_SECTOR = 512;

/** Byte position of entry `index` in a table or slice. */
export function l2EntryAt(geometry: Geometry, index: number): number {
  return index * geometry.l2EntryBytes;
}

export function isCompressed(high: number): boolean {
  return (high & COMPRESSED_HIGH) !== 0;
}

export function isCopied(high: number): boolean {
  return (high & COPIED_HIGH) !== 0;
}

/** The zero flag of a standard descriptor; meaningless for compressed and extended entries. */
export function hasZeroFlag(low: number): boolean {
  return (low & ZERO_LOW) !== 0;
}

/** Host byte offset of a standard descriptor; 0 means no host cluster. */
export function standardOffset(high: number, low: number): number {
  return joinHostOffset(high, low & OFFSET_LOW_MASK);
}

/** True if a standard descriptor has a reserved bit set (1-8, 56-61; bit 0 too with extended L2). */
export function standardHasReservedBits(high: number, low: number, extendedL2: boolean): boolean {
  return (high & 0x3f000000) !== 0 || (low & (extendedL2 ? 0x1ff : 0x1fe)) !== 0;
}

/** Where compressed data lies: `offset` is exact to the byte, `length` is what may be read, up to a sector's end. */
export interface CompressedDescriptor {
  readonly offset: number;
  readonly length: number;
}

/** Bits of the offset in a compressed descriptor: x = 62 - (cluster_bits - 8). */
function compressedOffsetBits(clusterBits: number): number {
  return 62 - (clusterBits - 8);
}

export function decodeCompressedDescriptor(
  geometry: Geometry,
  high: number,
  low: number,
): CompressedDescriptor {
  const highBits = compressedOffsetBits(geometry.clusterBits) - 32;
  const offset = (high & (2 ** highBits - 1)) * 2 ** 32 + (low >>> 0);
  const additionalSectors = ((high & 0x3fffffff) >>> highBits) & (2 ** (geometry.clusterBits - 8) - 1);
  return { offset, length: (additionalSectors + 1) * COMPRESSED_SECTOR - (offset % COMPRESSED_SECTOR) };
}

/** The two halves of a compressed descriptor for `lengthBytes` of data at byte `offset`. */
export function encodeCompressedDescriptor(
  geometry: Geometry,
  offset: number,
  lengthBytes: number,
): { readonly high: number; readonly low: number } {
  const highBits = compressedOffsetBits(geometry.clusterBits) - 32;
  const firstSector = Math.floor(offset / COMPRESSED_SECTOR);
  const lastSector = Math.floor((offset + lengthBytes - 1) / COMPRESSED_SECTOR);
  const high = (COMPRESSED_HIGH | ((lastSector - firstSector) << highBits) | highHalf(offset)) >>> 0;
  return { high, low: lowHalf(offset) };
}

/** The two halves of a standard descriptor. */
export function encodeStandardDescriptor(entry: {
  readonly offset: number;
  readonly copied: boolean;
  readonly zero: boolean;
}): { readonly high: number; readonly low: number } {
  return {
    high: (highHalf(entry.offset) | (entry.copied ? COPIED_HIGH : 0)) >>> 0,
    low: (lowHalf(entry.offset) | (entry.zero ? ZERO_LOW : 0)) >>> 0,
  };
}

/**
 * The state of one subcluster (specification: "Extended L2 Entries"): the low word of the bitmap says allocated,
 * the high word says zeroes; both set is invalid.
 */
export type SubclusterState = "unallocated" | "allocated" | "zero" | "invalid";

export function subclusterState(allocBits: number, zeroBits: number, subcluster: number): SubclusterState {
  const allocated = ((allocBits >>> subcluster) & 1) !== 0;
  const zero = ((zeroBits >>> subcluster) & 1) !== 0;
  if (allocated) return zero ? "invalid" : "allocated";
  return zero ? "zero" : "unallocated";
}
