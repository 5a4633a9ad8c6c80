/**
 * Rebuilds the refcounts of a dirty image on a storage that cannot grow, such as a block device: new blocks and a new
 * table go to clusters that nothing refers to, in a row. The old ones stay as they are until the header's switch, as in
 * `rebuild-refcounts.ts`.
 */
import { Qcow2Error } from "../../errors.ts";
import { FEATURE_TYPE_AUTOCLEAR, INCOMPATIBLE_DIRTY, knownFeatureMask } from "../../format/feature-bits.ts";
import {
  HEADER_AUTOCLEAR_FEATURES_AT,
  HEADER_INCOMPATIBLE_FEATURES_AT,
  HEADER_REFCOUNT_TABLE_AT,
} from "../../format/header.ts";
import {
  REFCOUNT_TABLE_ENTRY_BYTES,
  refcountCodec,
  refcountTableEntryOffset,
  setRefcountTableEntry,
} from "../../format/refcount-entry.ts";
import { viewOf, writeUint64 } from "../../format/uint64.ts";
import { MAX_REFCOUNT_TABLE_BYTES } from "../../limits.ts";
import { readExactly } from "../../storage/read-exactly.ts";
import type { Storage } from "../../storage/storage.ts";
import { checkImage } from "../check/check-image.ts";
import { checkNewMetadata } from "../check/check-new-metadata.ts";
import type { ReferenceWindow } from "../check/reference-window.ts";
import { ClusterSet } from "../cluster-set.ts";
import { endClusterOf, noSpace } from "../fixed-size.ts";
import type { ImageLayout, TableLocation } from "../image-layout.ts";

/** The header's bytes from the refcount table's offset to the end of the features. */
const SWITCHED_BYTES: number = HEADER_AUTOCLEAR_FEATURES_AT + 8 - HEADER_REFCOUNT_TABLE_AT;

/** Where everything new goes. */
interface Place {
  /** Indexes of the blocks that count anything, the new clusters included, in ascending order. */
  readonly blocks: readonly number[];
  readonly tableClusters: number;
  /** The first block is here, the others follow, then the table. */
  readonly first: number;
}

/** @throws Qcow2Error "needs-repair" if there is other damage, "io" with ENOSPC if nothing is free, "limit-exceeded" */
export async function rebuildRefcountsInside(storage: Storage, layout: ImageLayout): Promise<void> {
  const place = await findPlace(storage, layout);
  const refcountTable = await writeRefcounts(storage, layout, place);
  await storage.flush();
  let findings = 0;
  await checkNewMetadata({ storage, layout: { ...layout, refcountTable } }, { onFinding: () => findings++ });
  if (findings > 0) {
    throw new Qcow2Error(
      "needs-repair",
      "Image is dirty, and has damage that new refcounts do not mend; it was left as it is",
      { state: "dirty" },
    );
  }
  await switchTo(storage, refcountTable, layout.geometry.clusterSize);
}

/** Shows `onWindow` how many references there are to each cluster, those to the old refcounts left out. */
async function countReferences(
  storage: Storage,
  layout: ImageLayout,
  onWindow: (window: ReferenceWindow) => Promise<void>,
): Promise<void> {
  const withoutRefcounts = { ...layout, refcountTable: { offset: 0, length: 0 } };
  await checkImage({ storage, layout: withoutRefcounts }, {}, onWindow);
}

async function findPlace(storage: Storage, layout: ImageLayout): Promise<Place> {
  const { clusterSize, refcountsPerBlock } = layout.geometry;
  const endCluster = await endClusterOf(storage, clusterSize);
  // Enough for any number of blocks that count this storage.
  const mostBlocks = Math.ceil(endCluster / refcountsPerBlock) + 1;
  const most = mostBlocks + Math.ceil((mostBlocks * REFCOUNT_TABLE_ENTRY_BYTES) / clusterSize);
  const kept = await clustersOfRefcounts(storage, layout);
  const used = new Set<number>();
  let [start, longest, longestStart] = [0, 0, 0];
  await countReferences(storage, layout, async ({ first, end, counts }) => {
    for (let cluster = first; cluster < Math.min(end, endCluster); cluster++) {
      const isReferred = counts[cluster - first] !== 0;
      if (isReferred) used.add(Math.floor(cluster / refcountsPerBlock));
      if (isReferred || (longest < most && kept.has(cluster))) start = cluster + 1;
      else if (longest < most && cluster + 1 - start > longest) {
        longest = cluster + 1 - start;
        longestStart = start;
      }
    }
  });
  const place = planAt(longestStart, used, layout);
  if (place.blocks.length + place.tableClusters > longest) throw noSpace(storage.name);
  return place;
}

/** The blocks that are needed when the new clusters, from `first` on, are counted, too. */
function planAt(first: number, used: ReadonlySet<number>, { geometry }: ImageLayout): Place {
  const { clusterSize, refcountsPerBlock } = geometry;
  for (let total = 1; ; ) {
    const indexes = new Set(used);
    const last = Math.floor((first + total - 1) / refcountsPerBlock);
    for (let index = Math.floor(first / refcountsPerBlock); index <= last; index++) indexes.add(index);
    const blocks = [...indexes].sort((one, other) => one - other);
    const entries = (blocks.at(-1) as number) + 1;
    const tableClusters = Math.ceil((entries * REFCOUNT_TABLE_ENTRY_BYTES) / clusterSize);
    if (tableClusters * clusterSize > MAX_REFCOUNT_TABLE_BYTES) {
      throw new Qcow2Error("limit-exceeded", "The image is too large for a new refcount table", {
        what: "refcount table bytes",
        found: tableClusters * clusterSize,
        maximum: MAX_REFCOUNT_TABLE_BYTES,
      });
    }
    const needed = blocks.length + tableClusters;
    if (needed <= total) return { blocks, tableClusters, first };
    total = needed;
  }
}

/** Clusters of the refcount table and its blocks as they are: they stay until the switch. */
async function clustersOfRefcounts(
  storage: Storage,
  { refcountTable, geometry }: ImageLayout,
): Promise<ClusterSet> {
  const { clusterSize } = geometry;
  const kept = new ClusterSet();
  const fileSize = await storage.size();
  for (let at = 0; at < refcountTable.length; at += clusterSize) {
    if (refcountTable.offset + at >= fileSize) break;
    kept.add((refcountTable.offset + at) / clusterSize);
    const bytes = new Uint8Array(clusterSize);
    const present = await storage.read(refcountTable.offset + at, bytes);
    for (let entry = 0; entry < Math.floor(present / REFCOUNT_TABLE_ENTRY_BYTES); entry++) {
      const offset = refcountTableEntryOffset(viewOf(bytes), entry);
      if (offset > 0 && offset < fileSize) kept.add(Math.floor(offset / clusterSize));
    }
  }
  return kept;
}

async function writeRefcounts(
  storage: Storage,
  layout: ImageLayout,
  { blocks, tableClusters, first: firstNew }: Place,
): Promise<TableLocation> {
  const { clusterSize, refcountsPerBlock, refcountBits } = layout.geometry;
  const codec = refcountCodec(Math.log2(refcountBits));
  const endNew = firstNew + blocks.length + tableClusters;
  const places = new Map(blocks.map((index, order) => [index, (firstNew + order) * clusterSize]));
  const table = new Uint8Array(tableClusters * clusterSize);
  for (const [index, offset] of places) {
    setRefcountTableEntry(viewOf(table), index, offset);
    // Windows may end within a block, and new clusters lie behind the last one: they begin with these alone.
    const block = new Uint8Array(clusterSize);
    for (let entry = 0; entry < refcountsPerBlock; entry++) {
      const cluster = index * refcountsPerBlock + entry;
      if (cluster >= firstNew && cluster < endNew) codec.set(viewOf(block), entry, 1);
    }
    await storage.write(offset, block);
  }
  await countReferences(storage, layout, async ({ first, end, counts }) => {
    const lastIndex = Math.floor((end - 1) / refcountsPerBlock);
    for (let index = Math.floor(first / refcountsPerBlock); index <= lastIndex; index++) {
      const offset = places.get(index);
      if (offset === undefined) continue;
      const block = new Uint8Array(clusterSize);
      await readExactly(storage, offset, block, "Refcount block");
      const from = Math.max(first, index * refcountsPerBlock);
      for (let cluster = from; cluster < Math.min(end, (index + 1) * refcountsPerBlock); cluster++) {
        const count = counts[cluster - first] as number;
        if (count > 0) codec.set(viewOf(block), cluster % refcountsPerBlock, count);
      }
      await storage.write(offset, block);
    }
  });
  const offset = (firstNew + blocks.length) * clusterSize;
  await storage.write(offset, table);
  return { offset, length: table.length };
}

/** Points the header at the new table and clears the dirty bit, and bits that are not known, in one sector. */
async function switchTo(storage: Storage, table: TableLocation, clusterSize: number): Promise<void> {
  const bytes = new Uint8Array(SWITCHED_BYTES);
  await readExactly(storage, HEADER_REFCOUNT_TABLE_AT, bytes, "Header");
  const view = viewOf(bytes);
  writeUint64(view, 0, table.offset);
  view.setUint32(8, table.length / clusterSize);
  const incompatibleAt = HEADER_INCOMPATIBLE_FEATURES_AT - HEADER_REFCOUNT_TABLE_AT;
  const autoclearAt = HEADER_AUTOCLEAR_FEATURES_AT - HEADER_REFCOUNT_TABLE_AT;
  view.setBigUint64(incompatibleAt, view.getBigUint64(incompatibleAt) & ~INCOMPATIBLE_DIRTY);
  const known = knownFeatureMask(FEATURE_TYPE_AUTOCLEAR);
  view.setBigUint64(autoclearAt, view.getBigUint64(autoclearAt) & known);
  await storage.write(HEADER_REFCOUNT_TABLE_AT, bytes);
  await storage.flush();
}
