/** Writes guest data: in place where that is allowed, else to new clusters that are linked once they are complete. */
import { assert } from "../errors.ts";
import { type Geometry, roundDown, roundUp } from "../format/geometry.ts";
import type { Storage } from "../storage/storage.ts";
import { partOfStoredBytes, type StoredBytes } from "../storage/stored-bytes.ts";
import { allEnded } from "./bounded.ts";
import { leadsNowhere } from "./guarded-file.ts";
import {
  type ClusterEntry,
  freeEntryClusters,
  hostRangeOf,
  readEntry,
  subclusterBits,
  subclusterRange,
  writeStandardEntry,
} from "./l2-editing.ts";
import { type MappedSlice, releaseSlice, residentSlice, writableSlice } from "./l2-tables.ts";
import type { WriteContext } from "./write-context.ts";

/** Up to this size, data and its copy-on-write edges are joined in memory and written at once. */
const MAX_JOINED_WRITE_BYTES: number = 1 << 20;

/** What is written: bytes, or where they lie, to be copied from there. The latter for whole clusters only. */
export type GuestData = Uint8Array | StoredBytes;

/** The host does not copy stored bytes to where they belong. What was allocated for them is given back. */
export class NotCopied extends Error {}

/** Consecutive guest clusters, contiguous in the host file, that one write covers. */
interface WriteRun {
  /** Guest range of the caller's data in this run. */
  readonly start: number;
  end: number;
  /** Host offset of the cluster that contains `start`. */
  readonly hostOffset: number;
  /** True if the L2 entries already say all that is needed. */
  readonly inPlace: boolean;
  /** Guest range to write: the caller's data, widened to what has to be copied with it. */
  copyStart: number;
  copyEnd: number;
  /** Entries as they were, one for each cluster. */
  readonly entries: ClusterEntry[];
}

/** Writes `from` at `offset`. The caller holds the range lock of the clusters. */
export async function writeGuestData(context: WriteContext, offset: number, from: GuestData): Promise<void> {
  const end = offset + from.length;
  for (let at = offset; at < end; ) {
    const inPlace = planInPlace(context, at, end);
    if (inPlace !== undefined) {
      for (const run of inPlace) {
        await writeGuestBytes(
          context,
          hostStartOf(context, run),
          partOf(from, run.start - offset, run.end - offset),
        );
      }
      at = (inPlace[inPlace.length - 1] as WriteRun).end;
      continue;
    }
    const { slice, runs, plannedEnd } = await context.allocation.run(async () => {
      const mapped = await writableSlice(context, at);
      const planned: WriteRun[] = [];
      try {
        await planRuns(context, mapped, at, Math.min(end, mapped.end), planned);
        return { slice: mapped, runs: planned, plannedEnd: Math.min(end, mapped.end) };
      } catch (error) {
        for (const run of planned) giveBack(context, run);
        releaseSlice(mapped);
        throw error;
      }
    });
    let linked = 0;
    try {
      for (const run of runs) {
        await writeRun(context, run, partOf(from, run.start - offset, run.end - offset));
        if (!run.inPlace) linkRun(context, slice, run);
        linked++;
      }
    } finally {
      for (const run of runs.slice(linked)) giveBack(context, run);
      releaseSlice(slice);
    }
    at = plannedEnd;
  }
}

/**
 * The runs of start .. end, up to the end of the slice, if all of them can be written in place; undefined otherwise, or
 * if the tables are not resident. It needs no mutex and holds on to nothing: what an entry that may be written in place
 * says is changed only by whoever holds the range lock of its cluster.
 */
function planInPlace(context: WriteContext, start: number, end: number): WriteRun[] | undefined {
  const { mapping } = context.image;
  const { geometry } = mapping;
  const { clusterSize } = geometry;
  const slice = residentSlice(mapping, start);
  if (slice === undefined) return undefined;
  const runs: WriteRun[] = [];
  const sliceEnd = Math.min(end, slice.end);
  for (let at = start; at < sliceEnd; ) {
    const clusterStart = roundDown(at, clusterSize);
    const pieceEnd = Math.min(clusterStart + clusterSize, sliceEnd);
    const entry = entryOf(context, slice, clusterStart);
    const bits = subclusterBits(geometry, at - clusterStart, pieceEnd - clusterStart);
    if (!isInPlace(entry, bits)) return undefined;
    addToRuns(geometry, runs, {
      start: at,
      end: pieceEnd,
      hostOffset: entry.hostOffset,
      inPlace: true,
      entry,
    });
    at = pieceEnd;
  }
  return runs;
}

/**
 * Host offset of guest bytes start .. end, if all of them can be written in place by one write, and the table that says
 * so is resident. Whoever holds exactly these bytes may do so: entries change only under a lock on whole clusters.
 */
export function inPlaceOffset(context: WriteContext, start: number, end: number): number | undefined {
  const { mapping } = context.image;
  const { geometry } = mapping;
  const { clusterSize } = geometry;
  const slice = residentSlice(mapping, start);
  if (slice === undefined || end > slice.end) return undefined;
  const firstCluster = start - (start % clusterSize);
  let hostOffset: number | undefined;
  for (let cluster = firstCluster; cluster < end; cluster += clusterSize) {
    const entry = entryOf(context, slice, cluster);
    const bits = subclusterBits(geometry, Math.max(start - cluster, 0), Math.min(end - cluster, clusterSize));
    if (!isInPlace(entry, bits)) return undefined;
    hostOffset ??= entry.hostOffset;
    if (entry.hostOffset !== hostOffset + (cluster - firstCluster)) return undefined;
  }
  return hostOffset === undefined ? undefined : hostOffset + (start - firstCluster);
}

/** True if the subclusters `bits` have a host cluster that only the active disk uses, and hold data. */
function isInPlace(
  entry: ClusterEntry,
  bits: number,
): entry is ClusterEntry & { readonly hostOffset: number } {
  return entry.hostOffset !== undefined && entry.copied && (entry.allocBits & bits) >>> 0 === bits;
}

/**
 * Divides start .. end, which lies within one slice, into runs; allocates the clusters that are needed. If it fails,
 * `runs` holds what was allocated until then.
 */
async function planRuns(
  context: WriteContext,
  slice: MappedSlice,
  start: number,
  end: number,
  runs: WriteRun[],
): Promise<void> {
  const { geometry } = context.image.mapping;
  const { clusterSize } = geometry;
  for (let at = start; at < end; ) {
    const clusterStart = roundDown(at, clusterSize);
    const pieceEnd = Math.min(clusterStart + clusterSize, end);
    const entry = entryOf(context, slice, clusterStart);
    const bits = subclusterBits(geometry, at - clusterStart, pieceEnd - clusterStart);
    if (entry.hostOffset !== undefined && entry.copied) {
      const inPlace = isInPlace(entry, bits);
      addToRuns(geometry, runs, { start: at, end: pieceEnd, hostOffset: entry.hostOffset, inPlace, entry });
      at = pieceEnd;
    } else {
      at = await planFresh(context, slice, at, end, runs);
    }
  }
}

/** Allocates for the clusters from `start` on that need a new host cluster; returns where it stopped. */
async function planFresh(
  context: WriteContext,
  slice: MappedSlice,
  start: number,
  end: number,
  runs: WriteRun[],
): Promise<number> {
  const { geometry, hasDataFile } = context.image.mapping;
  const { clusterSize } = geometry;
  const firstCluster = roundDown(start, clusterSize);
  const entries: ClusterEntry[] = [];
  for (let cluster = firstCluster; cluster < end; cluster += clusterSize) {
    const entry = entryOf(context, slice, cluster);
    if (entry.hostOffset !== undefined && entry.copied) break;
    entries.push(entry);
  }
  // What is given up in their place is freed by its refcount.
  if (!hasDataFile) await context.proof.prove(context.image);
  for (const entry of entries) assertLeadsSomewhere(context, entry, start);
  // Free space may be in pieces: one allocation for each.
  for (let done = 0; done < entries.length; ) {
    const left = entries.length - done;
    const allocated = hasDataFile
      ? { first: firstCluster / clusterSize, count: left }
      : await context.allocator.allocate(left);
    for (let index = 0; index < allocated.count; index++) {
      const clusterStart = firstCluster + (done + index) * clusterSize;
      addToRuns(geometry, runs, {
        start: Math.max(start, clusterStart),
        end: Math.min(end, clusterStart + clusterSize),
        hostOffset: (allocated.first + index) * clusterSize,
        inPlace: false,
        entry: entries[done + index] as ClusterEntry,
      });
    }
    done += allocated.count;
  }
  return Math.min(end, firstCluster + entries.length * clusterSize);
}

/** Appends one cluster's piece, to the last run if it continues it. */
function addToRuns(
  geometry: Geometry,
  runs: WriteRun[],
  piece: {
    readonly start: number;
    readonly end: number;
    readonly hostOffset: number;
    readonly inPlace: boolean;
    readonly entry: ClusterEntry;
  },
): void {
  const copy = copyRange(geometry, piece);
  const last = runs[runs.length - 1];
  if (
    last !== undefined &&
    last.inPlace === piece.inPlace &&
    last.end === piece.start &&
    last.copyEnd === copy.start &&
    last.hostOffset + last.entries.length * geometry.clusterSize === piece.hostOffset
  ) {
    last.end = piece.end;
    last.copyEnd = copy.end;
    last.entries.push(piece.entry);
    return;
  }
  runs.push({
    start: piece.start,
    end: piece.end,
    hostOffset: piece.hostOffset,
    inPlace: piece.inPlace,
    copyStart: copy.start,
    copyEnd: copy.end,
    entries: [piece.entry],
  });
}

/**
 * The guest range that has to be written along with a piece: nothing more in place; whole subclusters otherwise, and if
 * the cluster moves away from where it has data, all from the first subcluster with data to the last.
 */
function copyRange(
  geometry: Geometry,
  piece: {
    readonly start: number;
    readonly end: number;
    readonly hostOffset: number;
    readonly inPlace: boolean;
    readonly entry: ClusterEntry;
  },
): { readonly start: number; readonly end: number } {
  if (piece.inPlace) return { start: piece.start, end: piece.end };
  const { clusterSize, subclusterSize } = geometry;
  const { entry, hostOffset } = piece;
  const start = roundDown(piece.start, subclusterSize);
  const end = roundUp(piece.end, subclusterSize);
  const moves = entry.compressed || (entry.hostOffset ?? hostOffset) !== hostOffset;
  if (!moves || entry.allocBits === 0) return { start, end };
  const clusterStart = roundDown(piece.start, clusterSize);
  // Without extended L2 all bits say the same.
  const withData = subclusterRange(geometry, entry.allocBits);
  return {
    start: Math.min(start, clusterStart + withData.start),
    end: Math.max(end, clusterStart + withData.end),
  };
}

/** Writes a run's data, with its edges copied from what the guest reads there now. */
async function writeRun(context: WriteContext, run: WriteRun, data: GuestData): Promise<void> {
  const hostStart = hostStartOf(context, run);
  const headBytes = run.start - run.copyStart;
  const tailBytes = run.copyEnd - run.end;
  if (headBytes === 0 && tailBytes === 0) {
    await writeGuestBytes(context, hostStart, data);
    return;
  }
  assert(data instanceof Uint8Array, "whole clusters have no edges");
  if (run.copyEnd - run.copyStart <= MAX_JOINED_WRITE_BYTES) {
    const joined = new Uint8Array(run.copyEnd - run.copyStart);
    joined.set(data, headBytes);
    await allEnded([
      readEdge(context, run.copyStart, joined.subarray(0, headBytes)),
      readEdge(context, run.end, joined.subarray(headBytes + data.length)),
    ]);
    await writeGuestBytes(context, hostStart, joined);
    return;
  }
  const head = new Uint8Array(headBytes);
  const tail = new Uint8Array(tailBytes);
  await allEnded([readEdge(context, run.copyStart, head), readEdge(context, run.end, tail)]);
  if (headBytes > 0) await writeGuestBytes(context, hostStart, head);
  await writeGuestBytes(context, hostStart + headBytes, data);
  if (tailBytes > 0) await writeGuestBytes(context, hostStart + headBytes + data.length, tail);
}

/** Where the first byte to write goes. */
function hostStartOf({ image }: WriteContext, run: WriteRun): number {
  return run.hostOffset + (run.copyStart - roundDown(run.start, image.mapping.geometry.clusterSize));
}

/** Writes where guest clusters are; in the data file there is no metadata to be guarded. */
export async function writeGuestBytes(
  { image, file }: WriteContext,
  offset: number,
  from: GuestData,
): Promise<void> {
  const end = offset + from.length;
  if (image.mapping.hasDataFile) {
    file.assertSound();
  } else {
    file.assertNoOverlap(offset, end);
    if (!file.isKnown(end)) await file.assertKnown(offset, end);
  }
  await (from instanceof Uint8Array
    ? image.dataStorage.write(offset, from)
    : copyGuestBytes(image.dataStorage, offset, from));
}

async function copyGuestBytes(storage: Storage, offset: number, from: StoredBytes): Promise<void> {
  if (!(await storage.copyFrom?.(offset, from))) throw new NotCopied();
}

/** `from` without what lies before index `start` and from index `end` on. */
function partOf(from: GuestData, start: number, end: number): GuestData {
  return from instanceof Uint8Array ? from.subarray(start, end) : partOfStoredBytes(from, start, end);
}

/** What the guest reads at `offset` now; beyond the end of the disk there are zeroes. */
async function readEdge({ image, reads }: WriteContext, offset: number, into: Uint8Array): Promise<void> {
  const length = Math.max(0, Math.min(into.length, image.size - offset));
  if (length > 0) await reads.run(() => image.reader.read(offset, into.subarray(0, length)));
}

/** Points the L2 entries at what was written and gives up what they pointed at before. One synchronous step. */
function linkRun(context: WriteContext, slice: MappedSlice, run: WriteRun): void {
  const { mapping } = context.image;
  const { geometry } = mapping;
  const { clusterSize } = geometry;
  const firstCluster = roundDown(run.start, clusterSize);
  run.entries.forEach((old, index) => {
    const clusterStart = firstCluster + index * clusterSize;
    const written = subclusterBits(
      geometry,
      Math.max(0, run.copyStart - clusterStart),
      Math.min(clusterSize, run.copyEnd - clusterStart),
    );
    const hostOffset = run.hostOffset + index * clusterSize;
    const keepsCluster = old.hostOffset === hostOffset && old.copied;
    writeStandardEntry(geometry, slice.table.view, entryAt(geometry, slice, clusterStart), {
      hostOffset,
      copied: true,
      allocBits: (keepsCluster ? old.allocBits | written : written) >>> 0,
      zeroBits: geometry.extendedL2 ? (old.zeroBits & ~written) >>> 0 : 0,
    });
    if (!keepsCluster) freeEntryClusters(context, old);
  });
  mapping.l2Slices.markDirty(slice.table);
}

/** Frees what was allocated for a run that was not linked, because writing failed. */
function giveBack({ commit, image }: WriteContext, run: WriteRun): void {
  const { clusterSize } = image.mapping.geometry;
  if (image.mapping.hasDataFile) return;
  run.entries.forEach((old, index) => {
    const hostOffset = run.hostOffset + index * clusterSize;
    if (!(old.hostOffset === hostOffset && old.copied)) commit.free(hostOffset / clusterSize, 1);
  });
}

/** Byte position of a cluster's entry within the slice. */
export function entryAt(geometry: Geometry, slice: MappedSlice, clusterStart: number): number {
  return ((clusterStart - slice.start) / geometry.clusterSize) * geometry.l2EntryBytes;
}

/** The entry of the cluster that begins at guest offset `clusterStart`. */
export function entryOf(context: WriteContext, slice: MappedSlice, clusterStart: number): ClusterEntry {
  const { mapping } = context.image;
  const at = entryAt(mapping.geometry, slice, clusterStart);
  const entry = readEntry(mapping, slice.table.view, at, clusterStart);
  if (context.proof.hasSuspects) assertLeadsSomewhere(context, entry, clusterStart);
  return entry;
}

/** Whoever changes an entry that leads beyond the end of the file, where nothing was allocated, meets its damage. */
function assertLeadsSomewhere(context: WriteContext, entry: ClusterEntry, guestOffset: number): void {
  const { image, proof, file } = context;
  if (image.mapping.hasDataFile) return;
  const { start, end } = hostRangeOf(image.mapping.geometry, entry);
  if (proof.isDangling(image, start, end)) file.refuseDamage(leadsNowhere("L2 table", start, guestOffset));
}
