/** Refcount table and blocks (specification: "Host cluster management"). */
import { Qcow2Error } from "../errors.ts";
import { writeUint64 } from "./uint64.ts";

export const REFCOUNT_TABLE_ENTRY_BYTES = 8;
/** Bits 0-8 are reserved. */
const OFFSET_LOW_MASK = 0xfffffe00;

/** Byte offset of the refcount block, 0 if there is none: then all its refcounts are 0. */
export function refcountTableEntryOffset(table: DataView, index: number): number {
  const at = index * REFCOUNT_TABLE_ENTRY_BYTES;
  // All 64 bits count here: offsets of 2^56 and above do not become small ones by masking.
  return table.getUint32(at) * 2 ** 32 + ((table.getUint32(at + 4) & OFFSET_LOW_MASK) >>> 0);
}

/** True if a reserved bit (0-8) is set. */
export function refcountTableEntryHasReservedBits(table: DataView, index: number): boolean {
  return (table.getUint32(index * REFCOUNT_TABLE_ENTRY_BYTES + 4) & ~OFFSET_LOW_MASK) !== 0;
}

/** True if the offset is a multiple of the cluster size; exact also where the offset is no safe integer. */
export function refcountTableEntryIsAligned(table: DataView, index: number, clusterSize: number): boolean {
  const low = table.getUint32(index * REFCOUNT_TABLE_ENTRY_BYTES + 4) & OFFSET_LOW_MASK;
  return (low & (clusterSize - 1)) === 0;
}

/** Reads and writes refcounts of one width in a big-endian block. Values above 2^53 - 1 are refused when read. */
export interface RefcountCodec {
  /** Largest value that fits (at most 2^53 - 1). */
  readonly maximum: number;
  get(block: DataView, index: number): number;
  set(block: DataView, index: number, value: number): void;
}

/** The codec for refcounts of 2^order bits. Widths below 8 are packed from the least significant bit of each byte. */
export function refcountCodec(order: number): RefcountCodec {
  switch (order) {
    case 0:
    case 1:
    case 2: {
      const bits = 2 ** order;
      const perByte = 8 / bits;
      const maximum = 2 ** bits - 1;
      return {
        maximum,
        get: (block, index) =>
          (block.getUint8(Math.floor(index / perByte)) >>> ((index % perByte) * bits)) & maximum,
        set: (block, index, value) => {
          const at = Math.floor(index / perByte);
          const shift = (index % perByte) * bits;
          block.setUint8(at, (block.getUint8(at) & ~(maximum << shift)) | (value << shift));
        },
      };
    }
    case 3:
      return {
        maximum: 0xff,
        get: (block, index) => block.getUint8(index),
        set: (block, index, value) => block.setUint8(index, value),
      };
    case 4:
      return {
        maximum: 0xffff,
        get: (block, index) => block.getUint16(index * 2),
        set: (block, index, value) => block.setUint16(index * 2, value),
      };
    case 5:
      return {
        maximum: 0xffffffff,
        get: (block, index) => block.getUint32(index * 4),
        set: (block, index, value) => block.setUint32(index * 4, value),
      };
    case 6:
      return {
        maximum: Number.MAX_SAFE_INTEGER,
        // A count above 2^53 - 1 has no honest cause; saturating keeps it unequal to any real reference count.
        get: (block, index) => Math.min(Number(block.getBigUint64(index * 8)), Number.MAX_SAFE_INTEGER),
        set: (block, index, value) => block.setBigUint64(index * 8, BigInt(value)),
      };
    default:
      throw new Qcow2Error("invalid-image", `Reference count entry width too large; may not exceed 64 bits`, {
        structure: "header",
        found: order,
        expected: 6,
      });
  }
}

/** Points entry `index` at the block at `offset`. */
export function setRefcountTableEntry(table: DataView, index: number, offset: number): void {
  writeUint64(table, index * REFCOUNT_TABLE_ENTRY_BYTES, offset);
}
