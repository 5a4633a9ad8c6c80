/** The L1 and L2 tables of the active disk for another virtual size. */
import type { Preallocation } from "../../disk/disk.ts";
import { type Geometry, l1EntriesFor, roundUp } from "../../format/geometry.ts";
import { L1_ENTRY_BYTES, l1EntryOffset, setL1Entry } from "../../format/l1-entry.ts";
import { l2EntryAt } from "../../format/l2-entry.ts";
import { viewOf } from "../../format/uint64.ts";
import { readExactly } from "../../storage/read-exactly.ts";
import { writeZeroBytes } from "../../storage/write-zeroes.ts";
import type { TableLocation } from "../image-layout.ts";
import { ALL_SUBCLUSTERS, writeStandardEntry } from "../l2-editing.ts";
import { hasBacking } from "../open-image.ts";
import { dropTree } from "../snapshots/snapshot-tree.ts";
import { referencesOf } from "../transaction/l2-tables-of.ts";
import type { MetadataTransaction } from "../transaction/metadata-transaction.ts";

export interface TreeResize {
  /** The new virtual size in bytes. */
  readonly size: number;
  /** For the clusters that are added. */
  readonly preallocation: Preallocation;
  /** True if the backing file would show through in what is added. */
  readonly revealsBacking: boolean;
}

/** Entries first .. end (exclusive) of an L2 table. */
interface EntryRange {
  readonly first: number;
  readonly end: number;
}

/**
 * Makes the active disk's tables fit the new size: what they map behind the smaller of both sizes is given up, and what
 * is added is mapped as asked for. Returns the new L1 table, or undefined if the current one fits as it is.
 */
export async function resizeTree(
  transaction: MetadataTransaction,
  resize: TreeResize,
): Promise<TableLocation | undefined> {
  const { image } = transaction;
  const { geometry } = image.layout;
  const current = image.mapping.l1.bytes;
  const kept = roundUp(Math.min(image.size, resize.size), geometry.clusterSize);
  const own = new Uint8Array(Math.max(l1EntriesFor(geometry, resize.size), 0) * L1_ENTRY_BYTES);
  own.set(current.subarray(0, Math.min(current.length, own.length)));
  let changed = await dropBehind(transaction, kept, own);
  const start = (await reservesTail(transaction, resize)) ? kept - geometry.clusterSize : kept;
  if (resize.size > start && fills(resize)) {
    await mapAdded(transaction, { start, end: resize.size }, resize, own);
    changed = true;
  }
  if (!changed && own.length <= current.length) return undefined;
  const { offset } = image.mapping.l1;
  await transaction.dropTable({ offset, length: current.length });
  return { offset: await transaction.addTable(own), length: own.length };
}

function fills({ preallocation, revealsBacking }: TreeResize): boolean {
  return preallocation !== "off" || revealsBacking;
}

/** True if the cluster that the disk ends within now has nothing behind it, and is to be reserved with the others. */
async function reservesTail(
  { image }: MetadataTransaction,
  { size, preallocation }: TreeResize,
): Promise<boolean> {
  const { geometry } = image.layout;
  if (preallocation === "off" || size <= image.size || hasBacking(image)) return false;
  if (image.size % geometry.clusterSize === 0) return false;
  const index = Math.floor(image.size / geometry.l2Coverage);
  const offset = l1EntryOffset(image.mapping.l1.view, index);
  if (offset === 0) return true;
  const entry = new Uint8Array(geometry.l2EntryBytes);
  const at = l2EntryAt(geometry, Math.floor((image.size % geometry.l2Coverage) / geometry.clusterSize));
  await readExactly(image.storage, offset + at, entry, "L2 table");
  return entry.every((byte) => byte === 0);
}

/** Gives up all that the current tables map from guest offset `kept` on; false if that is nothing. */
async function dropBehind(transaction: MetadataTransaction, kept: number, own: Uint8Array): Promise<boolean> {
  const { image } = transaction;
  const { geometry } = image.layout;
  const { l1 } = image.mapping;
  const boundary = Math.floor(kept / geometry.l2Coverage);
  const firstEntry = (kept % geometry.l2Coverage) / geometry.clusterSize;
  const behind = l1.bytes.slice();
  behind.fill(0, 0, Math.min(behind.length, (boundary + (firstEntry > 0 ? 1 : 0)) * L1_ENTRY_BYTES));
  await dropTree(transaction, behind);
  own.fill(0, Math.min(own.length, (boundary + (firstEntry > 0 ? 1 : 0)) * L1_ENTRY_BYTES));
  let changed = behind.some((byte) => byte !== 0);
  if (firstEntry > 0 && boundary < l1.bytes.length / L1_ENTRY_BYTES) {
    const range = { first: firstEntry, end: geometry.l2Entries };
    changed =
      (await editTable(transaction, own, boundary, (l2) => clearEntries(transaction, l2, range))) || changed;
  }
  return changed;
}

/** Maps start .. end (exclusive): to new clusters, or to zeroes. */
async function mapAdded(
  transaction: MetadataTransaction,
  { start, end }: { readonly start: number; readonly end: number },
  { preallocation, revealsBacking }: TreeResize,
  own: Uint8Array,
): Promise<void> {
  const { image } = transaction;
  const { geometry, hasDataFile, header } = image.layout;
  const { clusterSize, l2Coverage } = geometry;
  // Version 2 has no mark for clusters that read as zeroes.
  const allocates = preallocation !== "off" || header.version < 3;
  const isReserved = preallocation === "falloc" || preallocation === "full";
  // What a device holds there may be anything.
  const showsOld = revealsBacking || (image.storage.fixedSize === true && !hasDataFile);
  const zero = showsOld && header.version >= 3 && !isReserved;
  for (let from = start; from < end; ) {
    transaction.throwIfAborted();
    const index = Math.floor(from / l2Coverage);
    const to = Math.min(end, (index + 1) * l2Coverage);
    const first = (from % l2Coverage) / clusterSize;
    const count = Math.ceil((to - from) / clusterSize);
    const hostOffset = !allocates
      ? undefined
      : hasDataFile
        ? from
        : await reserve(transaction, { count, preallocation, areMarked: zero });
    await editTable(transaction, own, index, async (l2) => {
      for (let entry = 0; entry < count; entry++) {
        writeStandardEntry(geometry, l2, l2EntryAt(geometry, first + entry), {
          hostOffset: hostOffset === undefined ? undefined : hostOffset + entry * clusterSize,
          copied: allocates,
          ...contentBits(geometry, zero, revealsBacking),
        });
      }
      return true;
    });
    from = to;
  }
}

/** With extended L2, reserving a cluster defines none of its subclusters, unless a backing file would show through. */
function contentBits(
  geometry: Geometry,
  zero: boolean,
  revealsBacking: boolean,
): { readonly allocBits: number; readonly zeroBits: number } {
  if (zero) return { allocBits: 0, zeroBits: ALL_SUBCLUSTERS };
  return { allocBits: revealsBacking || !geometry.extendedL2 ? ALL_SUBCLUSTERS : 0, zeroBits: 0 };
}

/** New clusters in a row that hold zeroes; returns the host offset of the first. */
async function reserve(
  transaction: MetadataTransaction,
  {
    count,
    preallocation,
    areMarked,
  }: { readonly count: number; readonly preallocation: Preallocation; readonly areMarked: boolean },
): Promise<number> {
  const { storage, layout } = transaction.image;
  const offset = await transaction.addZeroClusters(count, { areMarked });
  const length = count * layout.geometry.clusterSize;
  // Written already.
  if (storage.fixedSize === true) return offset;
  if (preallocation === "falloc" && storage.allocate !== undefined) await storage.allocate(offset, length);
  else if (preallocation === "falloc" || preallocation === "full") {
    await writeZeroBytes(storage, offset, length, transaction.signal);
  }
  return offset;
}

/** Empties entries, counting one reference less to what they refer to; false if they were empty. */
async function clearEntries(
  transaction: MetadataTransaction,
  l2: DataView,
  { first, end }: EntryRange,
): Promise<boolean> {
  const { geometry } = transaction.image.layout;
  const start = l2EntryAt(geometry, first);
  const cleared = new Uint8Array(l2.buffer, l2.byteOffset + start, l2EntryAt(geometry, end) - start);
  if (cleared.every((byte) => byte === 0)) return false;
  const only = new Uint8Array(l2.byteLength);
  only.set(cleared, start);
  if (!transaction.image.layout.hasDataFile) {
    for (const run of referencesOf(geometry, viewOf(only)))
      await transaction.refcounts.change(run.first, run.count, -1);
  }
  cleared.fill(0);
  return true;
}

/**
 * Replaces the L2 table of an L1 entry by a copy that `edit` has changed; without one, by a new table. False, with
 * nothing done, if `edit` answers that it changed nothing.
 */
async function editTable(
  transaction: MetadataTransaction,
  own: Uint8Array,
  index: number,
  edit: (l2: DataView) => Promise<boolean>,
): Promise<boolean> {
  const { image, refcounts } = transaction;
  const { clusterSize } = image.layout.geometry;
  const l1 = viewOf(own);
  const offset = l1EntryOffset(l1, index);
  const bytes = new Uint8Array(clusterSize);
  if (offset !== 0) await readExactly(image.storage, offset, bytes, "L2 table");
  if (!(await edit(viewOf(bytes)))) return false;
  if (offset !== 0) await refcounts.change(offset / clusterSize, 1, -1);
  setL1Entry(l1, index, { offset: await transaction.addTable(bytes), copied: true });
  return true;
}
