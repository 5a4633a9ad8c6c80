/** Writes bytes over parts of an image, to see what readers say. */
import { closeSync, openSync, readFileSync, readSync, writeFileSync, writeSync } from "node:fs";

/** Offsets of header fields (specification: "Header"). */
export const HEADER = {
  magic: 0,
  version: 4,
  backingFileOffset: 8,
  backingFileSize: 16,
  clusterBits: 20,
  size: 24,
  cryptMethod: 32,
  l1Size: 36,
  l1TableOffset: 40,
  refcountTableOffset: 48,
  refcountTableClusters: 56,
  snapshotCount: 60,
  snapshotsOffset: 64,
  incompatibleFeatures: 72,
  refcountOrder: 96,
  headerLength: 100,
  compressionType: 104,
} as const;

/** Bits of an L2 entry. */
export const COPIED: bigint = 1n << 63n;
export const COMPRESSED: bigint = 1n << 62n;

export function poke(file: string, offset: number, bytes: Uint8Array): void {
  const descriptor = openSync(file, "r+");
  try {
    writeSync(descriptor, bytes, 0, bytes.length, offset);
  } finally {
    closeSync(descriptor);
  }
}

export function poke32(file: string, offset: number, value: number): void {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  poke(file, offset, bytes);
}

export function poke64(file: string, offset: number, value: bigint | number): void {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(BigInt(value));
  poke(file, offset, bytes);
}

export function peek64(file: string, offset: number): bigint {
  const descriptor = openSync(file, "r");
  try {
    const bytes = Buffer.alloc(8);
    readSync(descriptor, bytes, 0, 8, offset);
    return bytes.readBigUInt64BE();
  } finally {
    closeSync(descriptor);
  }
}

const OFFSET_MASK = 0x00fffffffffffe00n;

/** The host offset in an entry of an L1 or L2 table, or of a refcount table. */
export function hostOf(file: string, at: number): number {
  return Number(peek64(file, at) & OFFSET_MASK);
}

/** Where the entries of an image's tables are; for images with clusters of 64 KiB, 16-bit refcounts and one L2 table. */
export function tablesOf(file: string): {
  readonly l1: number;
  readonly l2: number;
  readonly refcountTable: number;
  readonly refcountBlock: number;
} {
  const l1 = Number(peek64(file, HEADER.l1TableOffset));
  const refcountTable = Number(peek64(file, HEADER.refcountTableOffset));
  return {
    l1,
    l2: hostOf(file, l1),
    refcountTable,
    refcountBlock: hostOf(file, refcountTable),
  };
}

/** Sets the flag of a bitmap that was not saved (specification: "Bitmap directory", flags, bit 0). */
export function markInUse(file: string, bitmap: string): void {
  const bytes = readFileSync(file);
  const at = bytes.indexOf(bitmap) - 24;
  bytes.writeUInt32BE(bytes.readUInt32BE(at + 12) | 1, at + 12);
  writeFileSync(file, bytes);
}
