/**
 * Holds tables that were just written against the refcounts that were written with them, before a header switches to
 * both. The tables and refcounts before them were proved to be right: only what differs is looked at.
 */
import { Qcow2Error } from "../../errors.ts";
import {
  REFCOUNT_TABLE_ENTRY_BYTES,
  refcountCodec,
  refcountTableEntryOffset,
} from "../../format/refcount-entry.ts";
import { viewOf } from "../../format/uint64.ts";
import { readExactly } from "../../storage/read-exactly.ts";
import type { Storage } from "../../storage/storage.ts";
import { allEnded } from "../bounded.ts";
import type { ImageLayout } from "../image-layout.ts";
import type { OpenImage } from "../open-image.ts";
import { findSuspects, WINDOW_CLUSTERS } from "../proof/find-suspects.ts";
import { type ImageTables, tablesOf } from "../proof/image-tables.ts";
import { MAX_COUNT, ReferenceCounts } from "../proof/reference-counts.ts";
import { type ScanInput, scanReferences } from "../proof/scan-references.ts";
import { readBitmapDirectory } from "../read-bitmap-directory.ts";
import { readSnapshotTable } from "../read-snapshot-table.ts";
import { differencesOf, withoutEqual } from "./table-differences.ts";

/**
 * `layout` is what the new header says; `image`, what the image is now.
 * @throws Qcow2Error "corrupt" if tables and refcounts contradict each other, "truncated", "io"; the signal's reason
 */
export async function verifyTables(
  image: OpenImage,
  layout: ImageLayout,
  signal: AbortSignal | undefined,
): Promise<void> {
  const { storage, refcounts } = image;
  const table = new Uint8Array(layout.refcountTable.length);
  await readExactly(storage, layout.refcountTable.offset, table, "Refcount table");
  const after = await readTables(storage, layout);
  const before = tablesOf(image, { offset: refcounts.table.offset, length: refcounts.table.bytes.length });
  const input = { storage, fileSize: await storage.size(), signal };
  const entries = Math.max(entriesInUse(table), entriesInUse(refcounts.table.bytes));
  const isSameWidth = layout.geometry.refcountBits === image.layout.geometry.refcountBits;
  const clusters = entries * layout.geometry.refcountsPerBlock;
  if (!isSameWidth || clusters > WINDOW_CLUSTERS) {
    await verifyAll({ ...input, tables: after, refcountTable: viewOf(table) });
    return;
  }
  const l1After = new Uint8Array(layout.l1Table.length);
  await readExactly(storage, layout.l1Table.offset, l1After, "L1 table");
  const differences = differencesOf({ before, after }, { l1Before: image.mapping.l1.bytes, l1After });
  const tableBefore = refcounts.table.bytes;
  const removed = await count(
    { ...input, tables: differences.before, refcountTable: viewOf(withoutEqual(tableBefore, table)) },
    clusters,
  );
  const added = await count(
    { ...input, tables: differences.after, refcountTable: viewOf(withoutEqual(table, tableBefore)) },
    clusters,
  );
  const blocks = { before: viewOf(tableBefore), after: viewOf(table) };
  await compare({ storage, layout, removed, added, blocks });
}

async function readTables(storage: Storage, layout: ImageLayout): Promise<ImageTables> {
  const { header, geometry, virtualSize } = layout;
  const { entries, byteLength } = await readSnapshotTable(
    storage,
    layout.snapshotsOffset,
    header.snapshotCount,
  );
  const { clusterSize } = geometry;
  const bitmaps =
    layout.bitmaps === undefined
      ? []
      : await readBitmapDirectory(storage, layout.bitmaps, { clusterSize, virtualSize });
  const image = { layout, snapshots: entries, snapshotTableBytes: byteLength, bitmaps };
  return tablesOf(image, layout.refcountTable);
}

/** Entries up to the last one that names a block. */
function entriesInUse(table: Uint8Array): number {
  let entries = table.length / REFCOUNT_TABLE_ENTRY_BYTES;
  while (entries > 0 && refcountTableEntryOffset(viewOf(table), entries - 1) === 0) entries--;
  return entries;
}

/** Holds all of the refcounts against all of the tables. */
async function verifyAll(input: ScanInput): Promise<void> {
  const { clusters, isWhole, areTablesAlone } = await findSuspects(input);
  if (clusters.pages > 0 || !isWhole || !areTablesAlone) throw unlike(input.tables.refcountTable.offset);
}

async function count(input: ScanInput, clusters: number): Promise<ReferenceCounts> {
  let outside = 0;
  const counts = new ReferenceCounts(input.tables.geometry, () => outside++);
  counts.moveTo(0, clusters);
  await scanReferences(input, counts);
  if (outside + counts.damaged > 0) throw unlike(input.tables.refcountTable.offset);
  return counts;
}

/** Every refcount has to have changed by as much as the references did. */
async function compare({
  storage,
  layout,
  removed,
  added,
  blocks,
}: {
  readonly storage: Storage;
  readonly layout: ImageLayout;
  readonly removed: ReferenceCounts;
  readonly added: ReferenceCounts;
  readonly blocks: { readonly before: DataView; readonly after: DataView };
}): Promise<void> {
  const { clusterSize, refcountsPerBlock, refcountBits } = layout.geometry;
  const codec = refcountCodec(Math.log2(refcountBits));
  for (let index = 0; index * refcountsPerBlock < added.end; index++) {
    const [from, to] = [offsetIn(blocks.before, index), offsetIn(blocks.after, index)];
    const isChanged = from !== to;
    const first = index * refcountsPerBlock;
    const end = Math.min(first + refcountsPerBlock, added.end);
    if (!isChanged && !added.mayHave(first, end) && !removed.mayHave(first, end)) continue;
    const [before, after] = isChanged
      ? await allEnded([readBlock(storage, from, clusterSize), readBlock(storage, to, clusterSize)])
      : [undefined, undefined];
    for (let entry = 0; first + entry < end; entry++) {
      const more = added.counts[first + entry] as number;
      const less = removed.counts[first + entry] as number;
      const difference =
        before === undefined || after === undefined ? 0 : codec.get(after, entry) - codec.get(before, entry);
      if (difference !== more - less || more === MAX_COUNT || less === MAX_COUNT) {
        throw unlike(layout.refcountTable.offset);
      }
    }
  }
}

function offsetIn(table: DataView, index: number): number {
  const entries = table.byteLength / REFCOUNT_TABLE_ENTRY_BYTES;
  return index < entries ? refcountTableEntryOffset(table, index) : 0;
}

async function readBlock(storage: Storage, offset: number, bytes: number): Promise<DataView> {
  const block = new Uint8Array(bytes);
  if (offset !== 0) await readExactly(storage, offset, block, "Refcount block");
  return viewOf(block);
}

function unlike(offset: number): Qcow2Error {
  return new Qcow2Error(
    "corrupt",
    "The new tables do not agree with the new refcounts; the image was left as it is",
    {
      structure: "refcount table",
      offset,
    },
  );
}
