/** References of persistent bitmaps (specification: "Bitmaps"): the directory, the bitmap tables and their data. */
import { isQcow2Error, Qcow2Error } from "../../errors.ts";
import { BITMAP_TABLE_ENTRY_BYTES, bitmapTableEntry } from "../../format/bitmap-table-entry.ts";
import { viewOf } from "../../format/uint64.ts";
import { readOrZeroes } from "../../storage/read-exactly.ts";
import type { Storage } from "../../storage/storage.ts";
import type { ImageLayout } from "../image-layout.ts";
import { readBitmapDirectory } from "../read-bitmap-directory.ts";
import type { CheckContext, TableExtent } from "./check-context.ts";
import { countExtent } from "./check-metadata.ts";
import { type CheckReport, hex } from "./check-report.ts";

/** Bytes of a bitmap table that are looked at together. */
const PIECE_BYTES: number = 2 ** 20;

/**
 * Reads where the bitmap tables are. A directory that breaks a rule is a corruption, and an error too: the bitmaps
 * behind it cannot be checked, and their clusters will look leaked.
 */
export async function readBitmapTables(
  storage: Storage,
  { bitmaps, geometry, virtualSize }: ImageLayout,
  report: CheckReport,
): Promise<TableExtent[]> {
  if (bitmaps === undefined) return [];
  try {
    const { clusterSize } = geometry;
    const entries = await readBitmapDirectory(storage, bitmaps, { clusterSize, virtualSize });
    return entries.map(({ tableOffset, tableSize }) => ({
      offset: Number(tableOffset),
      length: tableSize * BITMAP_TABLE_ENTRY_BYTES,
    }));
  } catch (error) {
    if (!(error instanceof Qcow2Error)) throw error;
    const { message } = error;
    if (!isQcow2Error(error, "io"))
      report.add("corruption", "bitmap", () => ({ message: `ERROR: ${message}` }));
    report.add("error", "bitmap", () => ({
      message: "ERROR: The persistent bitmaps cannot be checked",
      ...(isQcow2Error(error, "io") && { cause: error }),
    }));
    return [];
  }
}

/** Counts everything that belongs to bitmaps. */
export async function countBitmaps(context: CheckContext): Promise<void> {
  const { bitmaps, signal } = context;
  if (bitmaps === undefined) return;
  const directory = { offset: Number(bitmaps.directoryOffset), length: Number(bitmaps.directorySize) };
  countExtent(context, directory, 1);
  for (const table of context.bitmapTables) {
    countExtent(context, table, 1);
    const present = Math.max(0, Math.min(table.length, context.fileSize - table.offset));
    for (let at = 0; at < present; at += PIECE_BYTES) {
      signal?.throwIfAborted();
      const length = Math.min(PIECE_BYTES, present - at);
      await countPiece(context, table.offset + at, length);
    }
  }
}

async function countPiece(context: CheckContext, offset: number, length: number): Promise<void> {
  const { storage, geometry, window, report } = context;
  const bytes = new Uint8Array(length);
  try {
    await readOrZeroes(storage, offset, bytes);
  } catch (error) {
    if (!isQcow2Error(error, "io")) throw error;
    if (window.isFirstPass) {
      report.add("error", "read-error", () => ({
        message: `ERROR: Cannot read a bitmap table: ${error.message}`,
        hostOffset: offset,
        cause: error,
      }));
    }
    return;
  }
  const view = viewOf(bytes);
  for (let at = 0; at + BITMAP_TABLE_ENTRY_BYTES <= length; at += BITMAP_TABLE_ENTRY_BYTES) {
    const entry = bitmapTableEntry(view, at, geometry.clusterSize);
    if (!entry.isValid) {
      if (window.isFirstPass) reportEntry(context, offset + at, view.getBigUint64(at));
    } else if (entry.offset !== 0) {
      countExtent(context, { offset: entry.offset, length: geometry.clusterSize }, 1);
    }
  }
}

function reportEntry({ report }: CheckContext, hostOffset: number, entry: bigint): void {
  report.add("corruption", "bitmap", () => ({
    message: `ERROR: The bitmap table entry at ${hex(hostOffset)} (${hex(entry)}) has reserved bits set or is not aligned`,
    hostOffset,
  }));
  report.add("error", "bitmap", () => ({
    message: "ERROR: A persistent bitmap cannot be checked",
    hostOffset,
  }));
}
