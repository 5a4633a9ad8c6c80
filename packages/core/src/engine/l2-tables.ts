/** L2 tables that may be changed: made where there are none, copied where a snapshot shares them. */
import { isQcow2Error, Qcow2Error } from "../errors.ts";
import { l1EntryCopied, l1EntryOffset, setL1Entry } from "../format/l1-entry.ts";
import { leadsNowhere } from "./guarded-file.ts";
import { type GuestMapping, sliceBytesOf, sliceCoverageOf, sliceOffsetFor } from "./resolve.ts";
import type { CachedTable } from "./table-cache.ts";
import type { WriteContext } from "./write-context.ts";

/** A cached slice of an L2 table, and the guest range that it maps. */
export interface MappedSlice {
  readonly table: CachedTable;
  /** First guest byte. */
  readonly start: number;
  /** End of the guest range, exclusive. */
  readonly end: number;
}

/**
 * The slice that maps `offset`, in an L2 table that only the active disk uses. It is pinned: the caller calls
 * {@link releaseSlice}. The allocation mutex must be held.
 */
export async function writableSlice(context: WriteContext, offset: number): Promise<MappedSlice> {
  const { mapping } = context.image;
  const { l2Coverage } = mapping.geometry;
  const l1Index = Math.floor(offset / l2Coverage);
  const coverage = sliceCoverageOf(mapping.geometry);
  const start = Math.floor(offset / coverage) * coverage;
  try {
    if (!l1EntryCopied(mapping.l1.view, l1Index)) await replaceL2Table(context, l1Index);
    const sliceOffset = sliceOffsetFor(mapping, offset);
    if (sliceOffset === undefined) throw copiedNothing(mapping, l1Index, offset);
    const table = await mapping.l2Slices.pin(sliceOffset);
    return { table, start, end: start + coverage };
  } catch (error) {
    const l2Offset = l1EntryOffset(mapping.l1.view, l1Index);
    if (!isQcow2Error(error, "truncated") || error.data.structure !== "L2 table") throw error;
    if (l2Offset < error.data.fileSize) throw error;
    context.file.refuseDamage(leadsNowhere("L1 table", l2Offset, offset));
  }
}

/** The slice that maps `offset`, if it is in memory and only the active disk uses its table. It is not pinned. */
export function residentSlice(mapping: GuestMapping, offset: number): MappedSlice | undefined {
  if (!l1EntryCopied(mapping.l1.view, Math.floor(offset / mapping.geometry.l2Coverage))) return undefined;
  const sliceOffset = sliceOffsetFor(mapping, offset);
  const table = sliceOffset === undefined ? undefined : mapping.l2Slices.get(sliceOffset);
  if (table === undefined) return undefined;
  const coverage = sliceCoverageOf(mapping.geometry);
  const start = Math.floor(offset / coverage) * coverage;
  return { table, start, end: start + coverage };
}

/** An L1 entry says that its table has one user, and has no table: whatever it once named, nobody knows. */
function copiedNothing({ name }: GuestMapping, l1Index: number, guestOffset: number): Qcow2Error {
  return new Qcow2Error(
    "corrupt",
    `'${name}' is corrupt: L1 entry ${l1Index} has the COPIED flag, and no L2 table`,
    { structure: "L1 table", offset: 0, guestOffset },
  );
}

export function releaseSlice(slice: MappedSlice): void {
  slice.table.pins--;
}

/** Gives an L1 entry an L2 table of its own: a copy of the old one, if there is one, else an empty one. */
async function replaceL2Table(context: WriteContext, l1Index: number): Promise<void> {
  const { image, file, allocator, commit } = context;
  const { mapping } = image;
  const { clusterSize, l2Coverage } = mapping.geometry;
  // Checks the old entry, too.
  const hasOld = sliceOffsetFor(mapping, l1Index * l2Coverage) !== undefined;
  const oldOffset = hasOld ? l1EntryOffset(mapping.l1.view, l1Index) : 0;
  const { first } = await allocator.allocate(1);
  const newOffset = first * clusterSize;
  const sliceBytes = sliceBytesOf(mapping.geometry);
  try {
    for (let at = 0; at < clusterSize; at += sliceBytes) {
      const old = hasOld
        ? await mapping.l2Slices.with(oldOffset + at, (slice) => slice.bytes.slice())
        : undefined;
      const slice = mapping.l2Slices.addNew(newOffset + at);
      if (old !== undefined) slice.bytes.set(old);
    }
  } catch (error) {
    commit.free(first, 1);
    throw error;
  }
  setL1Entry(mapping.l1.view, l1Index, { offset: newOffset, copied: true });
  mapping.l1.markEntryDirty(l1Index);
  file.metadata?.add("active-l2", first);
  if (!hasOld) return;
  file.metadata?.deleteActiveL2(oldOffset / clusterSize);
  commit.free(oldOffset / clusterSize, 1);
}
