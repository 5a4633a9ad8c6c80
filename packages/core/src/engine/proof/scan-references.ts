/** Counts every reference that an image's tables make, reading each table once. */
import { BITMAP_TABLE_ENTRY_BYTES, bitmapTableEntry } from "../../format/bitmap-table-entry.ts";
import { L1_ENTRY_BYTES, l1EntryOffset } from "../../format/l1-entry.ts";
import {
  REFCOUNT_TABLE_ENTRY_BYTES,
  refcountTableEntryIsAligned,
  refcountTableEntryOffset,
} from "../../format/refcount-entry.ts";
import { viewOf } from "../../format/uint64.ts";
import { readOrZeroes } from "../../storage/read-exactly.ts";
import type { Storage } from "../../storage/storage.ts";
import { L2TableSet } from "../check/l2-table-set.ts";
import { readTableRuns } from "../check/table-runs.ts";
import type { TableLocation } from "../image-layout.ts";
import type { ImageTables } from "./image-tables.ts";
import type { ReferenceCounts } from "./reference-counts.ts";

/** L2 tables that are gathered before they are read, about 40 bytes of memory each. */
const TABLES_AT_A_TIME = 262144;
/** Bytes of a bitmap table that are looked at together. */
const PIECE_BYTES: number = 2 ** 18;

export interface ScanInput {
  readonly storage: Storage;
  readonly tables: ImageTables;
  /** The refcount table's bytes. */
  readonly refcountTable: DataView;
  /** Bytes of the file. Beyond it there are no tables, whatever refers to them. */
  readonly fileSize: number;
  readonly signal?: AbortSignal | undefined;
}

/** Counts all references to clusters of the window. @throws Qcow2Error "io"; the signal's reason */
export async function scanReferences(input: ScanInput, counts: ReferenceCounts): Promise<void> {
  const { tables, refcountTable } = input;
  for (const { offset, length } of tables.extents) counts.addExtent(offset, length, 1);
  counts.addExtent(tables.refcountTable.offset, tables.refcountTable.length, 1);
  for (let index = 0; index < refcountTable.byteLength / REFCOUNT_TABLE_ENTRY_BYTES; index++) {
    const offset = refcountTableEntryOffset(refcountTable, index);
    if (offset === 0) continue;
    if (!refcountTableEntryIsAligned(refcountTable, index, tables.geometry.clusterSize)) counts.damaged++;
    else counts.addExtent(offset, 1, 1);
  }
  await scanBitmaps(input, counts);
  await scanTrees(input, counts);
}

async function scanBitmaps(input: ScanInput, counts: ReferenceCounts): Promise<void> {
  const { tables } = input;
  for (const table of tables.bitmapTables) {
    counts.addExtent(table.offset, table.length, 1);
    for await (const { view } of piecesOf(input, table)) {
      for (let at = 0; at + BITMAP_TABLE_ENTRY_BYTES <= view.byteLength; at += BITMAP_TABLE_ENTRY_BYTES) {
        const { offset, isValid } = bitmapTableEntry(view, at, tables.geometry.clusterSize);
        if (!isValid) counts.damaged++;
        else if (offset !== 0) counts.addExtent(offset, tables.geometry.clusterSize, 1);
      }
    }
  }
}

async function scanTrees(input: ScanInput, counts: ReferenceCounts): Promise<void> {
  const { tables, fileSize } = input;
  const { clusterSize } = tables.geometry;
  let entries = 0;
  for (const { length } of tables.l1Tables) entries += length / L1_ENTRY_BYTES;
  const set = new L2TableSet(Math.max(entries, L2TableSet.pieceEntries), TABLES_AT_A_TIME);
  for (const table of tables.l1Tables) {
    counts.addExtent(table.offset, table.length, table.weight);
    for await (const { view } of table.entries === undefined
      ? piecesOf(input, table)
      : piecesIn(table.entries)) {
      // The file may end within an entry.
      const count = Math.floor(view.byteLength / L1_ENTRY_BYTES);
      if (!set.hasRoom(count)) {
        await scanL2Tables(input, set, counts);
        set.clear();
      }
      for (let index = 0; index < count; index++) {
        const offset = l1EntryOffset(view, index);
        if (offset === 0) continue;
        if (offset % clusterSize !== 0 || !Number.isSafeInteger(offset + clusterSize)) {
          counts.damaged++;
          continue;
        }
        counts.add(offset / clusterSize, table.weight);
        if (offset < fileSize) set.add(offset, table.active, table.weight);
      }
    }
  }
  await scanL2Tables(input, set, counts);
}

async function scanL2Tables(input: ScanInput, set: L2TableSet, counts: ReferenceCounts): Promise<void> {
  const { storage, tables, signal } = input;
  // Clusters of an external data file are not counted.
  if (tables.hasDataFile) return;
  const found = set.tables();
  for await (const run of readTableRuns({
    storage,
    count: found.count,
    offsetAt: (index) => found.offsets[index] as number,
    tableBytes: tables.geometry.clusterSize,
    signal,
  })) {
    if (run.failure !== undefined) throw run.failure;
    for (let index = run.first; index < run.end; index++) {
      const start = (found.offsets[index] as number) - run.fileOffset;
      counts.addL2Table(run.view, start, found.totalWeights[index] as number);
    }
  }
}

function* piecesIn(bytes: Uint8Array): Generator<{ readonly view: DataView }> {
  for (let at = 0; at < bytes.length; at += PIECE_BYTES)
    yield { view: viewOf(bytes.subarray(at, at + PIECE_BYTES)) };
}

/** A table in pieces, clipped to the file; each is valid until the next one is asked for. */
async function* piecesOf(
  { storage, fileSize, signal }: ScanInput,
  { offset, length }: TableLocation,
): AsyncGenerator<{ readonly view: DataView }> {
  const present = Math.max(0, Math.min(length, fileSize - offset));
  const buffer = new Uint8Array(Math.min(present, PIECE_BYTES));
  for (let at = 0; at < present; at += PIECE_BYTES) {
    signal?.throwIfAborted();
    const piece = buffer.subarray(0, Math.min(PIECE_BYTES, present - at));
    await readOrZeroes(storage, offset + at, piece);
    yield { view: viewOf(piece) };
  }
}
