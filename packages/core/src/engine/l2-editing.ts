/** What an L2 entry says about one cluster, and changing it. Nothing here does I/O. */
import type { Geometry } from "../format/geometry.ts";
import {
  decodeCompressedDescriptor,
  encodeStandardDescriptor,
  hasZeroFlag,
  isCompressed,
  isCopied,
} from "../format/l2-entry.ts";
import { type GuestMapping, hostClusterOffset } from "./resolve.ts";
import type { WriteContext } from "./write-context.ts";

/** All 32 subclusters. */
export const ALL_SUBCLUSTERS = 0xffffffff;

/** One cluster as its L2 entry describes it. */
export interface ClusterEntry {
  readonly compressed: boolean;
  /** Host byte offset of the whole cluster; undefined if there is none or it is compressed. */
  readonly hostOffset: number | undefined;
  /** No snapshot shares it: it may be changed in place. */
  readonly copied: boolean;
  /** Subclusters with data, bit 0 first. Without extended L2 all or none. */
  readonly allocBits: number;
  /** Subclusters that read as zeroes. Without extended L2 all or none. */
  readonly zeroBits: number;
  /** The two halves as stored. */
  readonly high: number;
  readonly low: number;
}

/**
 * Reads the entry at byte `at` of a slice, which maps the cluster at guest offset `clusterStart`.
 * @throws Qcow2Error "corrupt" if its offset is no possible one
 */
export function readEntry(
  mapping: GuestMapping,
  slice: DataView,
  at: number,
  clusterStart: number,
): ClusterEntry {
  const high = slice.getUint32(at);
  const low = slice.getUint32(at + 4);
  if (isCompressed(high)) {
    return {
      compressed: true,
      hostOffset: undefined,
      copied: false,
      allocBits: ALL_SUBCLUSTERS,
      zeroBits: 0,
      high,
      low,
    };
  }
  const hostOffset = hostClusterOffset(mapping, high, low, clusterStart);
  const { extendedL2 } = mapping.geometry;
  const zero = hasZeroFlag(low);
  return {
    compressed: false,
    hostOffset,
    copied: isCopied(high),
    allocBits: extendedL2
      ? slice.getUint32(at + 12)
      : !zero && hostOffset !== undefined
        ? ALL_SUBCLUSTERS
        : 0,
    zeroBits: extendedL2 ? slice.getUint32(at + 8) : zero ? ALL_SUBCLUSTERS : 0,
    high,
    low,
  };
}

/** Writes a standard entry. Without extended L2, `zeroBits` other than 0 means the whole cluster. */
export function writeStandardEntry(
  geometry: Geometry,
  slice: DataView,
  at: number,
  entry: {
    readonly hostOffset: number | undefined;
    readonly copied: boolean;
    readonly allocBits: number;
    readonly zeroBits: number;
  },
): void {
  const { high, low } = encodeStandardDescriptor({
    offset: entry.hostOffset ?? 0,
    copied: entry.copied,
    zero: !geometry.extendedL2 && entry.zeroBits !== 0,
  });
  slice.setUint32(at, high);
  slice.setUint32(at + 4, low);
  if (!geometry.extendedL2) return;
  slice.setUint32(at + 8, entry.zeroBits >>> 0);
  slice.setUint32(at + 12, entry.allocBits >>> 0);
}

/** Writes a compressed descriptor. */
export function writeCompressedEntry(
  geometry: Geometry,
  slice: DataView,
  at: number,
  descriptor: { readonly high: number; readonly low: number },
): void {
  slice.setUint32(at, descriptor.high);
  slice.setUint32(at + 4, descriptor.low);
  if (!geometry.extendedL2) return;
  slice.setUint32(at + 8, 0);
  slice.setUint32(at + 12, 0);
}

/** The host bytes start .. end (exclusive) that an entry refers to; none, 0 .. 0, if it refers to nothing. */
export function hostRangeOf(
  geometry: Geometry,
  entry: ClusterEntry,
): { readonly start: number; readonly end: number } {
  if (entry.compressed) {
    const { offset, length } = decodeCompressedDescriptor(geometry, entry.high, entry.low);
    return { start: offset, end: offset + length };
  }
  if (entry.hostOffset === undefined) return { start: 0, end: 0 };
  return { start: entry.hostOffset, end: entry.hostOffset + geometry.clusterSize };
}

/** Gives up the host clusters that an entry refers to, as soon as the entry is gone from the disk. */
export function freeEntryClusters({ commit, image }: WriteContext, entry: ClusterEntry): void {
  const { geometry, hasDataFile } = image.mapping;
  if (hasDataFile) return;
  if (entry.compressed) {
    const { offset, length } = decodeCompressedDescriptor(geometry, entry.high, entry.low);
    const first = Math.floor(offset / geometry.clusterSize);
    const last = Math.floor((offset + length - 1) / geometry.clusterSize);
    commit.free(first, last - first + 1);
  } else if (entry.hostOffset !== undefined) {
    commit.free(entry.hostOffset / geometry.clusterSize, 1);
  }
}

/** The bits of the subclusters that from .. to (bytes within a cluster) touches. */
export function subclusterBits(geometry: Geometry, from: number, to: number): number {
  const first = Math.floor(from / geometry.subclusterSize);
  const end = Math.ceil(to / geometry.subclusterSize);
  if (!geometry.extendedL2 || end - first >= 32) return ALL_SUBCLUSTERS;
  return ((2 ** (end - first) - 1) << first) >>> 0;
}

/** The bytes within a cluster from the first subcluster of `bits`, which is not 0, to the end of the last. */
export function subclusterRange(
  geometry: Geometry,
  bits: number,
): { readonly start: number; readonly end: number } {
  if (!geometry.extendedL2) return { start: 0, end: geometry.clusterSize };
  const first = 31 - Math.clz32(bits & -bits);
  return { start: first * geometry.subclusterSize, end: (32 - Math.clz32(bits)) * geometry.subclusterSize };
}
