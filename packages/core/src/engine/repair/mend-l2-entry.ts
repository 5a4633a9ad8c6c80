/**
 * One L2 entry that says what none may say, changed in memory to one that the guest reads the same through; where nothing
 * could be read through it, to zeroes or to none.
 */
import {
  decodeCompressedDescriptor,
  encodeCompressedDescriptor,
  hasZeroFlag,
  isCompressed,
  isCopied,
  standardOffset,
} from "../../format/l2-entry.ts";
import { SECTOR_SIZE } from "../../limits.ts";
import type { ImageLayout } from "../image-layout.ts";
import { ALL_SUBCLUSTERS, writeStandardEntry } from "../l2-editing.ts";

/** Bits 56-61 and 1-8 of a standard entry, in their halves. */
const RESERVED_HIGH = 0x3f000000;
const RESERVED_LOW = 0x000001fe;
const COPIED_HIGH = 0x80000000;

/**
 * Mends the entry at byte `at` of a table; `fileSize` is where the file ends. Returns "needs-cluster" for an entry that
 * reads as zeroes because it leads behind the end, where only a cluster of zeroes says so: version 2 has no other way to
 * say it over a backing file.
 */
export function mendL2Entry(
  l2: DataView,
  at: number,
  layout: ImageLayout,
  fileSize: number,
): "mended" | "needs-cluster" {
  const { geometry, hasDataFile } = layout;
  if (isCompressed(l2.getUint32(at))) {
    mendCompressed(l2, at, layout, fileSize);
    return "mended";
  }
  l2.setUint32(at, (l2.getUint32(at) & ~RESERVED_HIGH) >>> 0);
  l2.setUint32(at + 4, (l2.getUint32(at + 4) & ~RESERVED_LOW) >>> 0);
  const [high, low] = [l2.getUint32(at), l2.getUint32(at + 4)];
  const offset = standardOffset(high, low);
  if (geometry.extendedL2) mendSubclusters(l2, at, offset !== 0 || (hasDataFile && isCopied(high)));
  if (offset === 0) return "mended";
  const isAligned = offset % geometry.clusterSize === 0;
  const isBehindEnd = !hasDataFile && offset >= fileSize;
  if (isAligned && !isBehindEnd) return "mended";
  // It reads as zeroes where the file ends, and not at all where it is not aligned; its zeroes need no cluster.
  const wasZero = !geometry.extendedL2 && hasZeroFlag(low);
  const allocBits = geometry.extendedL2 ? l2.getUint32(at + 12) : wasZero ? 0 : ALL_SUBCLUSTERS;
  const oldZeroBits = geometry.extendedL2 ? l2.getUint32(at + 8) : wasZero ? ALL_SUBCLUSTERS : 0;
  const saysZero = layout.header.version >= 3;
  if (!saysZero && layout.backingFile !== undefined && isAligned) return "needs-cluster";
  writeStandardEntry(geometry, l2, at, {
    hostOffset: undefined,
    copied: false,
    allocBits: 0,
    zeroBits: saysZero ? (oldZeroBits | allocBits) >>> 0 : 0,
  });
  return "mended";
}

function mendSubclusters(l2: DataView, at: number, isAllocated: boolean): void {
  const zeroBits = l2.getUint32(at + 8);
  const allocBits = l2.getUint32(at + 12);
  if (!isAllocated) l2.setUint32(at + 12, 0);
  else l2.setUint32(at + 8, (zeroBits & ~allocBits) >>> 0);
}

function mendCompressed(
  l2: DataView,
  at: number,
  { geometry, hasDataFile }: ImageLayout,
  fileSize: number,
): void {
  // Nobody reads such an entry.
  if (hasDataFile) {
    new Uint8Array(l2.buffer, l2.byteOffset + at, geometry.l2EntryBytes).fill(0);
    return;
  }
  const high = (l2.getUint32(at) & ~COPIED_HIGH) >>> 0;
  l2.setUint32(at, high);
  if (geometry.extendedL2) {
    l2.setUint32(at + 8, 0);
    l2.setUint32(at + 12, 0);
  }
  const { offset, length } = decodeCompressedDescriptor(geometry, high, l2.getUint32(at + 4));
  if (offset >= fileSize) {
    // Only zeroes are there, and no compressed data begins with them.
    new Uint8Array(l2.buffer, l2.byteOffset + at, geometry.l2EntryBytes).fill(0);
    return;
  }
  const excess = offset + length - fileSize - geometry.clusterSize;
  if (excess < 0) return;
  // The length counts sectors and may be too high, with the data whole: what is behind the end of the file reads as zeroes.
  const shorter = length - (Math.floor(excess / SECTOR_SIZE) + 1) * SECTOR_SIZE;
  const { high: newHigh, low: newLow } = encodeCompressedDescriptor(geometry, offset, shorter);
  l2.setUint32(at, newHigh);
  l2.setUint32(at + 4, newLow);
}
