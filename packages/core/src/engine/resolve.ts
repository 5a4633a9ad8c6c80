/**
 * Where guest bytes are: a guest range becomes extents, synchronously, from tables that are resident
 * (specification: "Guest cluster mapping").
 */
import { Qcow2Error } from "../errors.ts";
import type { Geometry } from "../format/geometry.ts";
import { l1EntryOffset } from "../format/l1-entry.ts";
import {
  decodeCompressedDescriptor,
  hasZeroFlag,
  isCompressed,
  isCopied,
  standardOffset,
  subclusterState,
} from "../format/l2-entry.ts";
import { isExactRange } from "../format/uint64.ts";
import { MAX_SLICE_BYTES } from "../limits.ts";
import type { ResidentTable } from "./resident-table.ts";
import type { TableCache } from "./table-cache.ts";

/** What stands behind a run of guest bytes in one layer. */
export interface ResolvedExtent {
  readonly kind: "unallocated" | "zero" | "data" | "compressed";
  /** Guest bytes. */
  readonly offset: number;
  readonly length: number;
  /**
   * data: where the bytes are. zero and unallocated: a host cluster that is reserved for them, or undefined.
   * compressed: where the compressed bytes begin.
   */
  readonly hostOffset: number | undefined;
  /** compressed: host bytes that may be read, up to the end of a sector. */
  readonly compressedLength?: number;
}

/** One L1 table, active or of a snapshot, and what is needed to follow it. */
export interface GuestMapping {
  /** What to call the image in messages. */
  readonly name: string;
  readonly geometry: Geometry;
  readonly version: number;
  readonly hasDataFile: boolean;
  readonly l1: ResidentTable;
  readonly l2Slices: TableCache;
}

/** Bytes of one cached slice of an L2 table. */
export function sliceBytesOf(geometry: Geometry): number {
  return Math.min(geometry.clusterSize, MAX_SLICE_BYTES);
}

/** Guest bytes that one slice maps. */
export function sliceCoverageOf(geometry: Geometry): number {
  return (sliceBytesOf(geometry) / geometry.l2EntryBytes) * geometry.clusterSize;
}

/** Host offset of the slice that maps `offset`; undefined if there is no L2 table. */
export function sliceOffsetFor(mapping: GuestMapping, offset: number): number | undefined {
  const { geometry, l1 } = mapping;
  const l1Index = Math.floor(offset / geometry.l2Coverage);
  if (l1Index >= l1.entries) return undefined;
  const tableOffset = l1EntryOffset(l1.view, l1Index);
  if (tableOffset === 0) return undefined;
  if (tableOffset % geometry.clusterSize !== 0 || !isExactRange(tableOffset, geometry.clusterSize)) {
    throw new Qcow2Error(
      "corrupt",
      `'${mapping.name}' is corrupt: L2 table offset 0x${tableOffset.toString(16)} invalid (L1 index ${l1Index})`,
      {
        structure: "L1 table",
        offset: tableOffset,
        guestOffset: offset,
      },
    );
  }
  const sliceIndex = Math.floor((offset - l1Index * geometry.l2Coverage) / sliceCoverageOf(geometry));
  return tableOffset + sliceIndex * sliceBytesOf(geometry);
}

/**
 * Host offset of start .. end, if these bytes are data of one cluster and the table that says so is resident: most of
 * what a guest reads of a disk in use. Undefined says nothing; {@link resolveRange} has the answer then.
 */
export function residentDataOffset(mapping: GuestMapping, start: number, end: number): number | undefined {
  const { clusterSize, l2EntryBytes, extendedL2 } = mapping.geometry;
  const inCluster = start % clusterSize;
  const clusterStart = start - inCluster;
  if (end > clusterStart + clusterSize) return undefined;
  const sliceOffset = sliceOffsetFor(mapping, start);
  const slice = sliceOffset === undefined ? undefined : mapping.l2Slices.get(sliceOffset)?.view;
  if (slice === undefined) return undefined;
  const entryAt = ((clusterStart % sliceCoverageOf(mapping.geometry)) / clusterSize) * l2EntryBytes;
  const high = slice.getUint32(entryAt);
  const low = slice.getUint32(entryAt + 4);
  const mayBeOther = extendedL2 ? !isAllAllocated(slice, entryAt) : hasZeroFlag(low);
  if (isCompressed(high) || mayBeOther) return undefined;
  const hostCluster = hostClusterOffset(mapping, high, low, clusterStart);
  return hostCluster === undefined ? undefined : hostCluster + inCluster;
}

/** True if all subclusters of an extended entry hold data. */
function isAllAllocated(slice: DataView, entryAt: number): boolean {
  return slice.getUint32(entryAt + 8) === 0 && slice.getUint32(entryAt + 12) === 0xffffffff;
}

/**
 * Appends the extents of start .. end to `into`, in order and without gaps; neighbours of one kind are joined.
 * Returns undefined when done, or the host offset of the slice that has to be loaded before the rest can be
 * resolved; what was appended stays valid, and the call is repeated from where it stopped. With `enough`, it also
 * stops, at the end of a table, once there are so many extents.
 */
export function resolveRange(
  mapping: GuestMapping,
  start: number,
  end: number,
  into: ResolvedExtent[],
  enough: number = Number.POSITIVE_INFINITY,
): number | undefined {
  const coverage = sliceCoverageOf(mapping.geometry);
  for (let at = start; at < end && into.length < enough; ) {
    const sliceOffset = sliceOffsetFor(mapping, at);
    if (sliceOffset === undefined) {
      const gapEnd = Math.min(
        (Math.floor(at / mapping.geometry.l2Coverage) + 1) * mapping.geometry.l2Coverage,
        end,
      );
      append(into, { kind: "unallocated", offset: at, length: gapEnd - at, hostOffset: undefined });
      at = gapEnd;
      continue;
    }
    const slice = mapping.l2Slices.get(sliceOffset);
    if (slice === undefined) return sliceOffset;
    const sliceStart = Math.floor(at / coverage) * coverage;
    const sliceEnd = Math.min(sliceStart + coverage, end);
    resolveSlice(mapping, slice.view, sliceStart, at, sliceEnd, into);
    at = sliceEnd;
  }
  return undefined;
}

function resolveSlice(
  mapping: GuestMapping,
  slice: DataView,
  sliceStart: number,
  start: number,
  end: number,
  into: ResolvedExtent[],
): void {
  const { clusterSize, l2EntryBytes, extendedL2 } = mapping.geometry;
  for (let at = start; at < end; ) {
    const index = Math.floor((at - sliceStart) / clusterSize);
    const clusterStart = sliceStart + index * clusterSize;
    const clusterEnd = Math.min(clusterStart + clusterSize, end);
    const entryAt = index * l2EntryBytes;
    const high = slice.getUint32(entryAt);
    const low = slice.getUint32(entryAt + 4);
    if (isCompressed(high)) {
      append(into, resolveCompressed(mapping, high, low, at, clusterEnd - at));
    } else if (extendedL2) {
      resolveSubclusters(mapping, slice, entryAt, clusterStart, at, clusterEnd, into);
    } else {
      append(into, resolveStandard(mapping, high, low, clusterStart, at, clusterEnd - at));
    }
    at = clusterEnd;
  }
}

function resolveCompressed(
  mapping: GuestMapping,
  high: number,
  low: number,
  offset: number,
  length: number,
): ResolvedExtent {
  if (mapping.hasDataFile)
    throw corruptEntry(mapping, "Compressed cluster in an image with an external data file", offset);
  const descriptor = decodeCompressedDescriptor(mapping.geometry, high, low);
  if (!isExactRange(descriptor.offset, descriptor.length))
    throw corruptEntry(mapping, "Compressed cluster offset invalid", offset);
  return {
    kind: "compressed",
    offset,
    length,
    hostOffset: descriptor.offset,
    compressedLength: descriptor.length,
  };
}

function resolveStandard(
  mapping: GuestMapping,
  high: number,
  low: number,
  clusterStart: number,
  offset: number,
  length: number,
): ResolvedExtent {
  const hostCluster = hostClusterOffset(mapping, high, low, clusterStart);
  const hostOffset = hostCluster === undefined ? undefined : hostCluster + (offset - clusterStart);
  if (hasZeroFlag(low)) {
    if (mapping.version < 3) throw corruptEntry(mapping, "Zero cluster in a version 2 image", offset);
    // With the zero flag, offset 0 means "no cluster" even in a data file, whatever COPIED says: so QEMU reads it.
    const isPlain = standardOffset(high, low) === 0;
    return { kind: "zero", offset, length, hostOffset: isPlain ? undefined : hostOffset };
  }
  return { kind: hostOffset === undefined ? "unallocated" : "data", offset, length, hostOffset };
}

function resolveSubclusters(
  mapping: GuestMapping,
  slice: DataView,
  entryAt: number,
  clusterStart: number,
  start: number,
  end: number,
  into: ResolvedExtent[],
): void {
  const hostCluster = hostClusterOffset(
    mapping,
    slice.getUint32(entryAt),
    slice.getUint32(entryAt + 4),
    clusterStart,
  );
  const zeroBits = slice.getUint32(entryAt + 8);
  const allocBits = slice.getUint32(entryAt + 12);
  const { subclusterSize } = mapping.geometry;
  for (let at = start; at < end; ) {
    const subcluster = Math.floor((at - clusterStart) / subclusterSize);
    const length = Math.min(clusterStart + (subcluster + 1) * subclusterSize, end) - at;
    const state = subclusterState(allocBits, zeroBits, subcluster);
    if (state === "invalid" || (state === "allocated" && hostCluster === undefined)) {
      throw corruptEntry(mapping, "Invalid subcluster allocation", at);
    }
    const hostOffset = hostCluster === undefined ? undefined : hostCluster + (at - clusterStart);
    append(into, { kind: state === "allocated" ? "data" : state, offset: at, length, hostOffset });
    at += length;
  }
}

/**
 * Host offset of the cluster of a standard descriptor; undefined if there is none.
 * @throws Qcow2Error "corrupt" if it is no possible offset
 */
export function hostClusterOffset(
  mapping: GuestMapping,
  high: number,
  low: number,
  clusterStart: number,
): number | undefined {
  const offset = standardOffset(high, low);
  // In an external data file, offset 0 is guest cluster 0; COPIED tells it from "none".
  if (offset === 0 && !(mapping.hasDataFile && isCopied(high))) return undefined;
  const { clusterSize } = mapping.geometry;
  if (offset % clusterSize !== 0 || !isExactRange(offset, clusterSize)) {
    throw corruptEntry(mapping, `Cluster allocation offset 0x${offset.toString(16)} invalid`, clusterStart);
  }
  if (mapping.hasDataFile && offset !== clusterStart) {
    throw corruptEntry(
      mapping,
      `External data file offset 0x${offset.toString(16)} does not match the guest offset`,
      clusterStart,
    );
  }
  return offset;
}

function corruptEntry({ name }: GuestMapping, problem: string, guestOffset: number): Qcow2Error {
  const where = `guest offset 0x${guestOffset.toString(16)}`;
  return new Qcow2Error("corrupt", `'${name}' is corrupt: ${problem} (${where})`, {
    structure: "L2 table",
    guestOffset,
  });
}

function append(into: ResolvedExtent[], next: ResolvedExtent): void {
  // Every extent was made here a moment ago, so that growing the last one in place changes nobody's.
  const last: { -readonly [Key in keyof ResolvedExtent]: ResolvedExtent[Key] } | undefined =
    into[into.length - 1];
  if (
    last === undefined ||
    last.kind !== next.kind ||
    next.kind === "compressed" ||
    last.offset + last.length !== next.offset ||
    (last.hostOffset === undefined
      ? next.hostOffset !== undefined
      : next.hostOffset !== last.hostOffset + last.length)
  ) {
    into.push(next);
    return;
  }
  last.length += next.length;
}
