/**
 * The read-only check: the refcount of every host cluster against every reference to it, and the rules that entries
 * of tables have to keep (specification: "Host cluster management", "Cluster mapping").
 */
import { roundUp } from "../../format/geometry.ts";
import { EXTENSION_CRYPTO } from "../../format/header-extensions.ts";
import { L1_ENTRY_BYTES } from "../../format/l1-entry.ts";
import { viewOf } from "../../format/uint64.ts";
import { DEFAULT_CHECK_BYTES, MAX_CHECKED_CLUSTERS, SECTOR_SIZE } from "../../limits.ts";
import { readOrZeroes } from "../../storage/read-exactly.ts";
import type { Storage } from "../../storage/storage.ts";
import type { CheckOptions, CheckResult } from "../check-result.ts";
import { type ImageLayout, readImageLayout, type TableLocation } from "../image-layout.ts";
import { countBitmaps, readBitmapTables } from "./check-bitmaps.ts";
import type { CheckContext, TableExtent } from "./check-context.ts";
import { checkL1Piece, collectL2Tables, countL1Entries, l1Pieces } from "./check-l1.ts";
import { checkL2Tables } from "./check-l2.ts";
import { countMetadata } from "./check-metadata.ts";
import { countRefcountBlocks, markRefcountBlocks } from "./check-refcount-blocks.ts";
import { CheckReport } from "./check-report.ts";
import { checkSnapshots } from "./check-snapshots.ts";
import { compareRefcounts } from "./compare-refcounts.ts";
import { L2TableSet } from "./l2-table-set.ts";
import { ReferenceWindow } from "./reference-window.ts";
import { StoredRefcounts } from "./stored-refcounts.ts";

/** Memory of a table set takes about this much for each of its tables. */
const TABLE_SET_BYTES_PER_TABLE = 40;
/** The part of the memory that the table set may take. */
const TABLE_SET_SHARE = 1 / 8;

/**
 * Checks the qcow2 image in `storage`. Unlike opening it, this accepts tables that are missing or damaged, because
 * saying so is the point; only a header that makes no sense is an error.
 * @throws Qcow2Error "not-qcow2", "unsupported-version", "unsupported-feature", "invalid-image", "truncated" (the
 *   header itself), "limit-exceeded", "unsafe-offset", "io"; the signal's reason
 */
export async function checkStorage(storage: Storage, options: CheckOptions = {}): Promise<CheckResult> {
  return checkImage({ storage, layout: await readImageLayout(storage, { forCheck: true }) }, options);
}

/**
 * Checks an image whose layout has been read, possibly leniently (see `readImageLayout`). What is wrong with the
 * image is counted and reported, not thrown; the counts are those of `qemu-img check`. `onWindow` is shown the
 * references to each part of the file, in order, when all of them are counted. With `repairs`, everything is going to be
 * put right after the check: COPIED flags are told of then, because most of what is wrong with them is over when the
 * refcounts are right.
 * @throws Qcow2Error "io" if the active L1 table or the refcount table cannot be read; the signal's reason
 */
export async function checkImage(
  input: { readonly storage: Storage; readonly layout: ImageLayout },
  options: CheckOptions & { readonly repairs?: boolean } = {},
  onWindow?: (window: ReferenceWindow) => Promise<void>,
): Promise<CheckResult> {
  const { storage, layout } = input;
  options.signal?.throwIfAborted();
  const { repairs = false } = options;
  const report = new CheckReport(options.onFinding, { tellsLate: !repairs });
  const fileSize = roundUp(await storage.size(), SECTOR_SIZE);
  const { clusterSize } = layout.geometry;
  const clusterCount = Math.ceil(fileSize / clusterSize);
  const snapshots = await checkSnapshots(storage, layout, { report, repairs });
  if (snapshots === undefined) return resultOf(report, 0, 0);
  if (clusterCount > MAX_CHECKED_CLUSTERS) {
    report.add("error", "read-error", () => ({
      message: `ERROR The file has too many clusters (${clusterCount})`,
    }));
    return resultOf(report, 0, 0);
  }
  const memoryBytes = options.memoryBytes ?? DEFAULT_CHECK_BYTES;
  // One more than the file has: compressed data may reach into the cluster after the last.
  const passes = passesFor(clusterCount + 1, layout, memoryBytes);
  const capacity = Math.ceil((clusterCount + 1) / passes);
  let pass = 0;
  let progress = 0;
  const { l1Table, refcountTable } = layout;
  const context: CheckContext = {
    storage,
    geometry: layout.geometry,
    fileSize,
    hasDataFile: layout.hasDataFile,
    activeL1: viewOf(await readPresent(storage, l1Table, fileSize)),
    l1Tables: [
      ...(l1Table.length > 0 ? [{ ...l1Table, active: true, weight: 1 }] : []),
      ...snapshots.l1Tables,
    ],
    refcountTable,
    snapshotTable: snapshots.table,
    cryptoHeader: cryptoHeaderOf(layout),
    bitmaps: layout.bitmaps,
    bitmapTables: await readBitmapTables(storage, layout, report),
    stored: new StoredRefcounts({
      storage,
      geometry: layout.geometry,
      fileSize,
      table: await readPresent(storage, refcountTable, fileSize),
    }),
    window: new ReferenceWindow({ geometry: layout.geometry, fileSize, capacity, report }),
    report,
    memoryBytes,
    signal: options.signal,
    onPassProgress: (fraction) => {
      // A pass over many batches starts again with each of them; what is shown does not go back.
      progress = Math.max(progress, (pass + fraction) / passes);
      options.onProgress?.(progress);
    },
  };
  let highest = 0;
  for (; pass < passes; pass++) {
    const first = pass * capacity;
    context.window.moveTo(first, Math.min(first + capacity, clusterCount + 1));
    await countReferences(context);
    await onWindow?.(context.window);
    highest = Math.max(highest, await compareRefcounts(context, clusterCount));
  }
  report.tellLate();
  options.onProgress?.(1);
  const sectors = Math.floor(layout.virtualSize / SECTOR_SIZE);
  return resultOf(report, Math.ceil((sectors * SECTOR_SIZE) / clusterSize), (highest + 1) * clusterSize);
}

/** Counts all references to clusters of the window. Refcount blocks come last: they check that they are alone. */
async function countReferences(context: CheckContext): Promise<void> {
  await context.stored.fillFlags(context.window, context.signal);
  countMetadata(context);
  await countBitmaps(context);
  markRefcountBlocks(context);
  const set = new L2TableSet(
    countL1Entries(context),
    Math.floor((context.memoryBytes * TABLE_SET_SHARE) / TABLE_SET_BYTES_PER_TABLE),
  );
  // All L2 tables are marked before guest clusters are looked at, so that a guest cluster in one of them is noticed.
  let fits = true;
  for await (const piece of l1Pieces(context)) {
    await checkL1Piece(context, piece);
    fits &&= set.hasRoom(piece.view.byteLength / L1_ENTRY_BYTES);
    if (fits) collectL2Tables(context, piece, set);
  }
  if (!fits) await checkL2TablesInBatches(context, set);
  else await checkL2Tables(context, set.tables());
  countRefcountBlocks(context);
}

/** For images with more L2 tables than the set holds: reads the L1 tables again and empties the set as it fills. */
async function checkL2TablesInBatches(context: CheckContext, set: L2TableSet): Promise<void> {
  set.clear();
  for await (const piece of l1Pieces(context)) {
    if (!set.hasRoom(piece.view.byteLength / L1_ENTRY_BYTES)) {
      await checkL2Tables(context, set.tables());
      set.clear();
    }
    collectL2Tables(context, piece, set);
  }
  await checkL2Tables(context, set.tables());
}

function passesFor(clusters: number, layout: ImageLayout, memoryBytes: number): number {
  const bytes = ReferenceWindow.bytesPerCluster(layout.geometry.refcountBits);
  const capacity = Math.max(1024, Math.floor(memoryBytes / bytes));
  return Math.ceil(clusters / capacity);
}

/** The part of a table that lies within the file; whoever uses it takes the rest for zeroes. */
async function readPresent(
  storage: Storage,
  { offset, length }: TableLocation,
  fileSize: number,
): Promise<Uint8Array> {
  const present = Math.max(0, Math.min(length, fileSize - offset));
  const bytes = new Uint8Array(Math.ceil(present / 8) * 8);
  if (bytes.length > 0) await readOrZeroes(storage, offset, bytes);
  return bytes;
}

/** The extension of a LUKS image: offset and length of the encryption header, 8 bytes each. */
export function cryptoHeaderOf({ header, extensions }: ImageLayout): TableExtent | undefined {
  const extension = extensions.find(({ type }) => type === EXTENSION_CRYPTO);
  if (header.cryptMethod !== 2 || extension === undefined || extension.data.length < 16) return undefined;
  const view = viewOf(extension.data);
  return { offset: Number(view.getBigUint64(0)), length: Number(view.getBigUint64(8)) };
}

function resultOf(report: CheckReport, totalClusters: number, imageEndOffset: number): CheckResult {
  return {
    corruptions: report.corruptions,
    leaks: report.leaks,
    checkErrors: report.checkErrors,
    totalClusters,
    allocatedClusters: report.allocatedClusters,
    fragmentedClusters: report.fragmentedClusters,
    compressedClusters: report.compressedClusters,
    imageEndOffset,
  };
}
