/** L1 tables, active and of snapshots: their entries, and the L2 tables that they point at. */
import { isQcow2Error } from "../../errors.ts";
import {
  L1_ENTRY_BYTES,
  l1EntryCopied,
  l1EntryHasReservedBits,
  l1EntryOffset,
} from "../../format/l1-entry.ts";
import { viewOf } from "../../format/uint64.ts";
import { readOrZeroes } from "../../storage/read-exactly.ts";
import type { CheckContext, L1Reference } from "./check-context.ts";
import { hexHalves } from "./check-report.ts";
import { L2TableSet } from "./l2-table-set.ts";
import { FLAG_STORED_ONE, FLAG_STORED_UNKNOWN, KIND_L2_TABLE } from "./reference-window.ts";

/** Part of an L1 table that is in memory. */
export interface L1Piece {
  readonly reference: L1Reference;
  /** Index of the first entry of `view` in its table. */
  readonly firstIndex: number;
  readonly view: DataView;
}

/** All L1 tables in pieces, clipped to the file: beyond its end there are only zeroes, which refer to nothing. */
export async function* l1Pieces(context: CheckContext): AsyncGenerator<L1Piece> {
  const pieceBytes = L2TableSet.pieceEntries * L1_ENTRY_BYTES;
  let buffer: Uint8Array | undefined;
  for (const reference of context.l1Tables) {
    const length = presentBytes(context, reference);
    for (let at = 0; at < length; at += pieceBytes) {
      context.signal?.throwIfAborted();
      const count = Math.min(pieceBytes, length - at);
      if (reference.active) {
        const { buffer: bytes, byteOffset } = context.activeL1;
        yield {
          reference,
          firstIndex: at / L1_ENTRY_BYTES,
          view: new DataView(bytes, byteOffset + at, count),
        };
        continue;
      }
      if (buffer === undefined || buffer.length < count) buffer = new Uint8Array(count);
      const piece = buffer.subarray(0, count);
      if (await readPiece(context, reference, at, piece)) {
        yield { reference, firstIndex: at / L1_ENTRY_BYTES, view: viewOf(piece) };
      }
    }
  }
}

/** Entries of all L1 tables together, as far as they lie within the file. */
export function countL1Entries(context: CheckContext): number {
  let entries = 0;
  for (const reference of context.l1Tables) entries += presentBytes(context, reference) / L1_ENTRY_BYTES;
  return entries;
}

/** Checks one piece's entries and counts the clusters of the L2 tables that they point at. */
export async function checkL1Piece(context: CheckContext, piece: L1Piece): Promise<void> {
  const { window, geometry } = context;
  const { view, reference } = piece;
  const copiedToRead: number[] = [];
  for (let index = 0; index < view.byteLength / L1_ENTRY_BYTES; index++) {
    if (isEmpty(view, index)) continue;
    const offset = l1EntryOffset(view, index);
    if (window.isFirstPass) checkL1Entry(context, piece, index, offset);
    window.markRange(offset, geometry.clusterSize, KIND_L2_TABLE);
    window.countRange(offset, geometry.clusterSize, reference.weight);
    if (!reference.active || offset === 0) continue;
    const cluster = Math.floor(offset / geometry.clusterSize);
    if (offset >= context.fileSize) {
      if (!window.isFirstPass) continue;
      copiedToRead.push(index);
    } else if (cluster >= window.first && cluster < window.end) {
      const flags = window.flags[cluster - window.first] as number;
      const isUnknown = (flags & FLAG_STORED_UNKNOWN) !== 0;
      if (!isUnknown && l1EntryCopied(view, index) !== ((flags & FLAG_STORED_ONE) !== 0)) {
        copiedToRead.push(index);
      }
    }
  }
  for (const index of copiedToRead) {
    const cluster = Math.floor(l1EntryOffset(view, index) / geometry.clusterSize);
    const refcount = await context.stored.refcount(cluster);
    if (refcount !== undefined) checkL1Copied(context, piece, index, refcount);
  }
}

/** Adds the L2 tables of one piece to the set; those beyond the end of the file are all zeroes and left out. */
export function collectL2Tables(context: CheckContext, piece: L1Piece, set: L2TableSet): void {
  const { view, reference } = piece;
  for (let index = 0; index < view.byteLength / L1_ENTRY_BYTES; index++) {
    if (isEmpty(view, index)) continue;
    const offset = l1EntryOffset(view, index);
    if (offset < context.fileSize) set.add(offset, reference.active, reference.weight);
  }
}

/** Guest offset of the first byte that the L2 table maps in the active disk; undefined if it is not part of it. */
export function guestOffsetOfL2Table(context: CheckContext, l2Offset: number): number | undefined {
  const { activeL1, geometry } = context;
  for (let index = 0; index < activeL1.byteLength / L1_ENTRY_BYTES; index++) {
    if (!isEmpty(activeL1, index) && l1EntryOffset(activeL1, index) === l2Offset) {
      return index * geometry.l2Coverage;
    }
  }
  return undefined;
}

function isEmpty(view: DataView, index: number): boolean {
  const at = index * L1_ENTRY_BYTES;
  return view.getUint32(at) === 0 && view.getUint32(at + 4) === 0;
}

function presentBytes(context: CheckContext, { offset, length }: L1Reference): number {
  const bytes = Math.max(0, Math.min(length, context.fileSize - offset));
  return Math.ceil(bytes / L1_ENTRY_BYTES) * L1_ENTRY_BYTES;
}

async function readPiece(
  context: CheckContext,
  reference: L1Reference,
  at: number,
  into: Uint8Array,
): Promise<boolean> {
  try {
    await readOrZeroes(context.storage, reference.offset + at, into);
    return true;
  } catch (error) {
    if (!isQcow2Error(error, "io")) throw error;
    if (context.window.isFirstPass) {
      context.report.add("error", "read-error", () => ({
        message: `ERROR: Could not read the L1 table of a snapshot: ${error.message}`,
        hostOffset: reference.offset + at,
        cause: error,
      }));
    }
    return false;
  }
}

function checkL1Entry(context: CheckContext, piece: L1Piece, index: number, offset: number): void {
  const { report, geometry } = context;
  const { view, reference } = piece;
  if (l1EntryHasReservedBits(view, index)) {
    report.add(
      "corruption",
      "reserved-bits",
      () => ({
        message: `ERROR found L1 entry with reserved bits set: ${entryText(piece, index)}`,
        ...where(context, piece, index),
      }),
      reference.weight,
    );
  }
  if (offset % geometry.clusterSize !== 0) {
    report.add(
      "corruption",
      "unaligned",
      () => ({
        message: `ERROR l2_offset=${offset.toString(16)}: Table is not cluster aligned; L1 entry corrupted`,
        ...where(context, piece, index),
      }),
      reference.weight,
    );
  }
}

function checkL1Copied(context: CheckContext, piece: L1Piece, index: number, refcount: number): void {
  if (l1EntryCopied(piece.view, index) === (refcount === 1)) return;
  const { firstIndex } = piece;
  context.report.addLate(
    "copied-flag",
    () => ({
      message: `ERROR ${describeL1Copied(firstIndex + index, entryText(piece, index), refcount)}`,
      ...where(context, piece, index),
    }),
    1,
  );
}

/** As `qemu-img check` describes it; `entry` is hexadecimal. */
export function describeL1Copied(index: number, entry: string, refcount: number): string {
  return `OFLAG_COPIED L2 cluster: l1_index=${index} l1_entry=${entry} refcount=${refcount}`;
}

function entryText({ view }: L1Piece, index: number): string {
  const at = index * L1_ENTRY_BYTES;
  return hexHalves(view.getUint32(at), view.getUint32(at + 4));
}

function where(
  context: CheckContext,
  { reference, firstIndex }: L1Piece,
  index: number,
): { hostOffset: number; guestOffset?: number } {
  const hostOffset = reference.offset + (firstIndex + index) * L1_ENTRY_BYTES;
  if (!reference.active) return { hostOffset };
  return { hostOffset, guestOffset: (firstIndex + index) * context.geometry.l2Coverage };
}
