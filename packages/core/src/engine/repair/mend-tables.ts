/**
 * Entries of L1 and L2 tables that say what none may say. Each is changed where it is, in one sector, to an entry that
 * the guest reads the same through; where it could not be read at all, to none.
 */
import { Qcow2Error } from "../../errors.ts";
import type { Geometry } from "../../format/geometry.ts";
import { HEADER_L1_TABLE_OFFSET_AT } from "../../format/header.ts";
import { L1_ENTRY_BYTES, l1EntryOffset, setL1Entry } from "../../format/l1-entry.ts";
import {
  decodeCompressedDescriptor,
  encodeStandardDescriptor,
  hasZeroFlag,
  isCompressed,
  isCopied,
  l2EntryAt,
  standardOffset,
} from "../../format/l2-entry.ts";
import { viewOf, writeUint64 } from "../../format/uint64.ts";
import { MAX_L1_BYTES } from "../../limits.ts";
import { readOrZeroes } from "../../storage/read-exactly.ts";
import type { Storage } from "../../storage/storage.ts";
import type { ImageLayout, TableLocation } from "../image-layout.ts";
import { ALL_SUBCLUSTERS, writeStandardEntry } from "../l2-editing.ts";
import { readSnapshotTable } from "../read-snapshot-table.ts";
import { snapshotL1Location } from "../snapshots/snapshot-tree.ts";
import { writeChangedSectors } from "./fix-refcounts.ts";

/** Bits 56-62 and 0-8 of an L1 entry, and 56-61 and 1-8 of a standard L2 entry, in their halves. */
const L1_RESERVED_HIGH = 0x7f000000;
const L1_RESERVED_LOW = 0x000001ff;
const L2_RESERVED_HIGH = 0x3f000000;
const L2_RESERVED_LOW = 0x000001fe;
const COPIED_HIGH = 0x80000000;

interface MendOptions {
  /** Host offsets of clusters that are metadata and something else: tables there get a cluster of their own. */
  readonly overlapping: ReadonlySet<number>;
  readonly signal: AbortSignal | undefined;
}

/** Mends the active tables and those of all snapshots. Returns how many entries were changed. */
export async function mendTables(
  storage: Storage,
  layout: ImageLayout,
  options: MendOptions,
): Promise<number> {
  const { entries } = await readSnapshotTable(storage, layout.snapshotsOffset, layout.header.snapshotCount);
  const seen = new Set<number>();
  let mended = 0;
  for (const location of [layout.l1Table, ...entries.map(snapshotL1Location)]) {
    if (location.length === 0 || location.length > MAX_L1_BYTES || seen.has(location.offset)) continue;
    seen.add(location.offset);
    mended += await mendTree(storage, layout, location, options);
  }
  if (mended > 0) await storage.flush();
  return mended;
}

async function mendTree(
  storage: Storage,
  layout: ImageLayout,
  location: TableLocation,
  { overlapping, signal }: MendOptions,
): Promise<number> {
  const { clusterSize } = layout.geometry;
  const fileSize = await storage.size();
  const isOverlapping = overlapping.has(location.offset);
  // Where a snapshot's table is something else, too, the check afterwards says so.
  if (isOverlapping && location !== layout.l1Table) return 0;
  let mended = 0;
  const l1 = new Uint8Array(location.length);
  await readOrZeroes(storage, location.offset, l1);
  const before = l1.slice();
  const view = viewOf(l1);
  for (let index = 0; index < l1.length / L1_ENTRY_BYTES; index++) {
    signal?.throwIfAborted();
    const at = index * L1_ENTRY_BYTES;
    view.setUint32(at, (view.getUint32(at) & ~L1_RESERVED_HIGH) >>> 0);
    view.setUint32(at + 4, (view.getUint32(at + 4) & ~L1_RESERVED_LOW) >>> 0);
    const offset = l1EntryOffset(view, index);
    if (offset === 0) continue;
    // A table behind the end of the file reads as empty; one that is not aligned cannot be read.
    if (offset % clusterSize !== 0 || offset >= fileSize) {
      view.setBigUint64(at, 0n);
      continue;
    }
    const l2Offset = overlapping.has(offset) ? await copyCluster(storage, clusterSize, offset) : offset;
    if (l2Offset !== offset) setL1Entry(view, index, { offset: l2Offset, copied: false });
    mended += await mendL2Table(storage, layout, l2Offset, { fileSize, overlapping });
  }
  mended += changedEntries(before, l1, L1_ENTRY_BYTES);
  if (mended > 0) await storage.flush();
  if (isOverlapping) await moveActiveL1(storage, clusterSize, l1);
  else await writeChangedSectors(storage, location.offset, { before, after: l1 });
  return mended + (isOverlapping ? 1 : 0);
}

/** Writes the active L1 table behind the end of the file, and switches the header to it. */
async function moveActiveL1(storage: Storage, clusterSize: number, l1: Uint8Array): Promise<void> {
  const home = (Math.ceil((await storage.size()) / clusterSize) + 1) * clusterSize;
  const whole = new Uint8Array(Math.ceil(l1.length / clusterSize) * clusterSize);
  whole.set(l1);
  await storage.write(home, whole);
  await storage.flush();
  const field = new Uint8Array(8);
  writeUint64(viewOf(field), 0, home);
  await storage.write(HEADER_L1_TABLE_OFFSET_AT, field);
  await storage.flush();
}

function changedEntries(before: Uint8Array, after: Uint8Array, entryBytes: number): number {
  let changed = 0;
  for (let at = 0; at < after.length; at += entryBytes) {
    if (after.subarray(at, at + entryBytes).some((byte, index) => byte !== before[at + index])) changed++;
  }
  return changed;
}

/** Behind the end of the file, and one cluster more: compressed data may reach into the one after the last. */
async function copyCluster(storage: Storage, clusterSize: number, offset: number): Promise<number> {
  const bytes = new Uint8Array(clusterSize);
  await readOrZeroes(storage, offset, bytes);
  const home = (Math.ceil((await storage.size()) / clusterSize) + 1) * clusterSize;
  await storage.write(home, bytes);
  return home;
}

async function mendL2Table(
  storage: Storage,
  layout: ImageLayout,
  offset: number,
  { fileSize, overlapping }: { readonly fileSize: number; readonly overlapping: ReadonlySet<number> },
): Promise<number> {
  const { geometry, hasDataFile } = layout;
  const bytes = new Uint8Array(geometry.clusterSize);
  try {
    await readOrZeroes(storage, offset, bytes);
  } catch (error) {
    if (error instanceof Qcow2Error) return 0;
    throw error;
  }
  const before = bytes.slice();
  const view = viewOf(bytes);
  for (let index = 0; index < geometry.l2Entries; index++) {
    const at = l2EntryAt(geometry, index);
    mendEntry(view, at, layout, fileSize);
    const [high, low] = [view.getUint32(at), view.getUint32(at + 4)];
    const cluster = standardOffset(high, low);
    if (hasDataFile || isCompressed(high) || cluster === 0 || !overlapping.has(cluster)) continue;
    // Guest data in a cluster of metadata: writing it would destroy that.
    const { high: newHigh, low: newLow } = encodeStandardDescriptor({
      offset: await copyCluster(storage, geometry.clusterSize, cluster),
      copied: false,
      zero: !geometry.extendedL2 && hasZeroFlag(low),
    });
    view.setUint32(at, newHigh);
    view.setUint32(at + 4, newLow);
    await storage.flush();
  }
  await writeChangedSectors(storage, offset, { before, after: bytes });
  return changedEntries(before, bytes, geometry.l2EntryBytes);
}

function mendEntry(l2: DataView, at: number, layout: ImageLayout, fileSize: number): void {
  const { geometry, hasDataFile } = layout;
  if (isCompressed(l2.getUint32(at))) {
    mendCompressed(l2, at, layout, fileSize);
    return;
  }
  l2.setUint32(at, (l2.getUint32(at) & ~L2_RESERVED_HIGH) >>> 0);
  l2.setUint32(at + 4, (l2.getUint32(at + 4) & ~L2_RESERVED_LOW) >>> 0);
  const [high, low] = [l2.getUint32(at), l2.getUint32(at + 4)];
  const offset = standardOffset(high, low);
  if (geometry.extendedL2) mendSubclusters(l2, at, offset !== 0 || (hasDataFile && isCopied(high)));
  if (offset === 0) return;
  const isBehindEnd = !hasDataFile && offset + geometry.clusterSize - fileSize >= geometry.clusterSize;
  if (offset % geometry.clusterSize === 0 && !isBehindEnd) return;
  // It reads as zeroes where the file ends, and not at all where it is not aligned; its zeroes need no cluster.
  const wasZero = !geometry.extendedL2 && hasZeroFlag(low);
  const allocBits = geometry.extendedL2 ? l2.getUint32(at + 12) : wasZero ? 0 : ALL_SUBCLUSTERS;
  const oldZeroBits = geometry.extendedL2 ? l2.getUint32(at + 8) : wasZero ? ALL_SUBCLUSTERS : 0;
  const saysZero = layout.header.version >= 3;
  // Version 2 has no way to say "zeroes" over a backing file; only what could not be read at all may show that.
  if (!saysZero && layout.backingFile !== undefined && offset % geometry.clusterSize === 0) return;
  writeStandardEntry(geometry, l2, at, {
    hostOffset: undefined,
    copied: false,
    allocBits: 0,
    zeroBits: saysZero ? (oldZeroBits | allocBits) >>> 0 : 0,
  });
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
    emptyEntry(l2, at, geometry);
    return;
  }
  const high = (l2.getUint32(at) & ~COPIED_HIGH) >>> 0;
  l2.setUint32(at, high);
  if (geometry.extendedL2) {
    l2.setUint32(at + 8, 0);
    l2.setUint32(at + 12, 0);
  }
  const { offset, length } = decodeCompressedDescriptor(geometry, high, l2.getUint32(at + 4));
  if (isCompressedBehindEnd(geometry, { offset, length }, fileSize)) emptyEntry(l2, at, geometry);
}

/** Compressed data that is not in the file cannot be read. */
function isCompressedBehindEnd(
  geometry: Geometry,
  { offset, length }: TableLocation,
  fileSize: number,
): boolean {
  return offset + length - fileSize >= geometry.clusterSize;
}

function emptyEntry(l2: DataView, at: number, geometry: Geometry): void {
  new Uint8Array(l2.buffer, l2.byteOffset + at, geometry.l2EntryBytes).fill(0);
}
