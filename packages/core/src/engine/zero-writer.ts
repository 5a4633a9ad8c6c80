/** Makes guest ranges read as zeroes, without writing zeroes wherever the format can say it in a table. */
import type { Disk } from "../disk/disk.ts";
import { roundDown, roundUp } from "../format/geometry.ts";
import { allEnded } from "./bounded.ts";
import { changeSlices } from "./change-slices.ts";
import { punchDataFile, zeroRawDataFile } from "./data-file.ts";
import { discardClusters } from "./discard.ts";
import { entryAt, entryOf, writeGuestData } from "./guest-writer.ts";
import { freeEntryClusters, subclusterBits, writeStandardEntry } from "./l2-editing.ts";
import type { MappedSlice } from "./l2-tables.ts";
import { hasBacking } from "./open-image.ts";
import type { WriteContext } from "./write-context.ts";

/** Zeroes are written as data in pieces of this size. */
const ZERO_PIECE_BYTES: number = 1 << 20;
/** Extents resolved at a time; bounds the memory of zeroing any range. */
const EXTENTS_AT_A_TIME = 4096;

/**
 * Zeroes start .. end. Whole subclusters are marked in the L2 tables, those at the ends as well if the rest of them reads
 * as zeroes anyway; other ends are written as data unless they read as zeroes already. Version 2 images have no such
 * mark: without a backing file their whole clusters are given up, with one all is written as data. With `unmap`, host
 * clusters are given up. The caller holds the range lock of the clusters. Once `signal` is aborted, its reason is thrown
 * between two pieces or slices: what was zeroed stays so, and nothing is done in part.
 */
export async function zeroGuestRange(
  context: WriteContext,
  start: number,
  end: number,
  unmap: boolean,
  signal?: AbortSignal | undefined,
): Promise<void> {
  const { geometry, version } = context.image.mapping;
  if (version < 3) {
    await zeroInVersion2(context, start, end, signal);
    return;
  }
  await zeroRawDataFile(context, start, end, signal);
  const marked = await markableRange(context, start, end);
  await writeZeroData(context, start, Math.min(end, marked.start), signal);
  for (const piece of splitAtClusters(marked.start, marked.end, geometry.clusterSize)) {
    await zeroSubclusters(context, piece, unmap, signal);
  }
  await writeZeroData(context, Math.max(start, marked.end), end, signal);
}

async function zeroInVersion2(
  context: WriteContext,
  start: number,
  end: number,
  signal: AbortSignal | undefined,
): Promise<void> {
  const whole = wholeUnits(context, start, end);
  if (hasBacking(context.image) || whole.start >= whole.end) {
    await writeZeroData(context, start, end, signal);
    return;
  }
  await writeZeroData(context, start, whole.start, signal);
  await discardClusters(context, whole.start, whole.end, { revealBacking: false, signal });
  await writeZeroData(context, Math.max(start, whole.end), end, signal);
}

/** A half-open range of guest bytes; empty if it does not begin before it ends. */
interface GuestSpan {
  readonly start: number;
  readonly end: number;
}

/** The subclusters that lie within start .. end. The last one may reach beyond the disk; what lies there is nobody's. */
function wholeUnits({ image }: WriteContext, start: number, end: number): GuestSpan {
  const { subclusterSize } = image.mapping.geometry;
  const alignedEnd = end === image.size ? roundUp(end, subclusterSize) : roundDown(end, subclusterSize);
  return { start: roundUp(start, subclusterSize), end: alignedEnd };
}

/** The subclusters of which all reads as zeroes once start .. end does. `end` is returned if there are none. */
async function markableRange(context: WriteContext, start: number, end: number): Promise<GuestSpan> {
  const { subclusterSize } = context.image.mapping.geometry;
  const whole = wholeUnits(context, start, end);
  const [first, last] = [roundDown(start, subclusterSize), roundUp(end, subclusterSize)];
  if (whole.start > whole.end) {
    const isMarkable = await restReadsAsZeroes(context, { start: first, end: last }, { start, end });
    return isMarkable ? { start: first, end: last } : { start: end, end };
  }
  const head = { start: first, end: whole.start };
  const tail = { start: whole.end, end: last };
  const [takesHead, takesTail] = await allEnded(
    [head, tail].map((unit) => restReadsAsZeroes(context, unit, { start, end })),
  );
  const marked = { start: takesHead ? first : whole.start, end: takesTail ? last : whole.end };
  return marked.start < marked.end ? marked : { start: end, end };
}

/** True if the image holds no data in `unit`, a subcluster, and what of it lies outside `span` reads as zeroes. */
async function restReadsAsZeroes(context: WriteContext, unit: GuestSpan, span: GuestSpan): Promise<boolean> {
  const { reader, backing, size } = context.image;
  const unitEnd = Math.min(unit.end, size);
  if (unit.start >= unitEnd) return true;
  const extents = await context.reads.run(() => reader.resolve(unit.start, unitEnd));
  for (const { kind, offset, length } of extents) {
    if (kind !== "zero" && kind !== "unallocated") return false;
    if (kind === "zero" || backing === undefined) continue;
    const extent = { start: offset, end: Math.min(offset + length, backing.size) };
    for (const rest of [
      { start: extent.start, end: Math.min(extent.end, span.start) },
      { start: Math.max(extent.start, span.end), end: extent.end },
    ]) {
      if (rest.start < rest.end && !(await isMappedAsZero(backing, rest))) return false;
    }
  }
  return true;
}

async function isMappedAsZero(disk: Disk, { start, end }: GuestSpan): Promise<boolean> {
  for await (const extent of disk.map({ offset: start, length: end - start })) {
    if (extent.kind !== "zero") return false;
  }
  return true;
}

interface Piece {
  readonly start: number;
  readonly end: number;
  /** True if it ends or begins within a cluster. */
  readonly partial: boolean;
}

/** The part of a first cluster, whole clusters, the part of a last cluster; whichever there are. */
function splitAtClusters(start: number, end: number, clusterSize: number): Piece[] {
  const wholeStart = Math.min(roundUp(start, clusterSize), end);
  const wholeEnd = Math.max(roundDown(end, clusterSize), wholeStart);
  const pieces: Piece[] = [
    { start, end: wholeStart, partial: true },
    { start: wholeStart, end: wholeEnd, partial: false },
    { start: wholeEnd, end, partial: true },
  ];
  return pieces.filter((piece) => piece.start < piece.end);
}

async function zeroSubclusters(
  context: WriteContext,
  piece: Piece,
  unmap: boolean,
  signal: AbortSignal | undefined,
): Promise<void> {
  if (piece.partial) {
    // A compressed cluster has no subclusters: what is left of it has to be written anew.
    const { reads, image } = context;
    const [extent] = await reads.run(() => image.reader.resolve(piece.start, piece.end));
    if (extent?.kind === "compressed") {
      await writeZeroData(context, piece.start, piece.end);
      return;
    }
  }
  await changeSlices(
    context,
    piece.start,
    piece.end,
    (slice, start, end) => zeroInSlice(context, slice, start, end, unmap),
    signal,
  );
  if (unmap && !piece.partial) await punchDataFile(context, piece.start, piece.end);
}

/** Marks whole subclusters of one slice. One synchronous step. */
function zeroInSlice(
  context: WriteContext,
  slice: MappedSlice,
  start: number,
  end: number,
  unmap: boolean,
): void {
  const { geometry } = context.image.mapping;
  for (let at = start; at < end; ) {
    const clusterStart = roundDown(at, geometry.clusterSize);
    const pieceEnd = Math.min(clusterStart + geometry.clusterSize, end);
    zeroInCluster(
      context,
      slice,
      clusterStart,
      subclusterBits(geometry, at - clusterStart, pieceEnd - clusterStart),
      unmap,
    );
    at = pieceEnd;
  }
}

function zeroInCluster(
  context: WriteContext,
  slice: MappedSlice,
  clusterStart: number,
  bits: number,
  unmap: boolean,
): void {
  const { geometry } = context.image.mapping;
  const old = entryOf(context, slice, clusterStart);
  const allocBits = (old.allocBits & ~bits) >>> 0;
  const keepsCluster = old.hostOffset !== undefined && (allocBits !== 0 || !unmap);
  writeStandardEntry(geometry, slice.table.view, entryAt(geometry, slice, clusterStart), {
    hostOffset: keepsCluster ? old.hostOffset : undefined,
    copied: keepsCluster && old.copied,
    allocBits: old.compressed ? 0 : allocBits,
    zeroBits: (old.zeroBits | bits) >>> 0,
  });
  if (!keepsCluster) freeEntryClusters(context, old);
}

/** Writes zeroes as data where the range does not read as zeroes already. */
async function writeZeroData(
  context: WriteContext,
  start: number,
  end: number,
  signal?: AbortSignal | undefined,
): Promise<void> {
  const { reader, backing } = context.image;
  for (let done = start; done < end; ) {
    const from = done;
    const extents = await context.reads.run(() => reader.resolve(from, end, EXTENTS_AT_A_TIME));
    for (const extent of extents) {
      done = extent.offset + extent.length;
      const readsAsZeroes =
        extent.kind === "zero" || (extent.kind === "unallocated" && extent.offset >= (backing?.size ?? 0));
      if (!readsAsZeroes) await writeZeroExtent(context, extent, signal);
    }
    if (context.commit.underPressure) await context.commit.write();
  }
}

async function writeZeroExtent(
  context: WriteContext,
  extent: { readonly offset: number; readonly length: number },
  signal: AbortSignal | undefined,
): Promise<void> {
  const zeroes = new Uint8Array(Math.min(extent.length, ZERO_PIECE_BYTES));
  const end = extent.offset + extent.length;
  for (let at = extent.offset; at < end; at += zeroes.length) {
    signal?.throwIfAborted();
    await writeGuestData(context, at, zeroes.subarray(0, Math.min(zeroes.length, end - at)));
  }
}
