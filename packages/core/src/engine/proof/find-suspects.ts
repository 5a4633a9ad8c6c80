/**
 * Holds the refcounts of an image against all references to its clusters, fast and in bounded memory, and finds the
 * clusters that have more references than their refcount says. Too high a refcount only leaks; these would be given to
 * somebody else while they are in use.
 */
import { Qcow2Error } from "../../errors.ts";
import {
  REFCOUNT_TABLE_ENTRY_BYTES,
  refcountCodec,
  refcountTableEntryIsAligned,
  refcountTableEntryOffset,
} from "../../format/refcount-entry.ts";
import { readTableRuns } from "../check/table-runs.ts";
import { ClusterSet } from "../cluster-set.ts";
import { MAX_COUNT, ReferenceCounts } from "./reference-counts.ts";
import { type ScanInput, scanReferences } from "./scan-references.ts";

/** Clusters that are counted in one pass over the tables, two bytes each. */
export const WINDOW_CLUSTERS: number = 32 * 2 ** 20;
/**
 * Clusters behind the end of the file that refcounts are believed for. What refers to still others leads nowhere, and a
 * table that claims to count them takes no memory.
 */
const CLUSTERS_BEHIND: number = 2 ** 20;
/** Pages of suspects, about 300 bytes each. Whoever has more is not just damaged in places. */
const MAX_SUSPECT_PAGES = 65536;

export interface Suspects {
  /** Clusters with more references than their refcount says. */
  readonly clusters: ClusterSet;
  /** False if entries of tables are no possible references: there may be more than were found. */
  readonly isWhole: boolean;
  /** False if tables that are written in place lie where something else does, too. */
  readonly areTablesAlone: boolean;
}

/** @throws Qcow2Error "needs-repair" if almost nothing is right, "io"; the signal's reason */
export async function findSuspects(input: ScanInput): Promise<Suspects> {
  const { tables, refcountTable, fileSize } = input;
  const { geometry } = tables;
  const readable = readableBlocks(input);
  const { refcountsPerBlock } = geometry;
  const limit = Math.ceil(fileSize / geometry.clusterSize) + CLUSTERS_BEHIND;
  const blocks = readable.filter((index) => index * refcountsPerBlock < limit);
  const suspects = new ClusterSet();
  const hasBlock = new Uint8Array(refcountTable.byteLength / REFCOUNT_TABLE_ENTRY_BYTES);
  for (const index of blocks) hasBlock[index] = 1;
  let isFirstPass = true;
  const counts = new ReferenceCounts(geometry, (cluster) => {
    const isCounted = cluster < limit && hasBlock[Math.floor(cluster / refcountsPerBlock)] === 1;
    if (isFirstPass && !isCounted) addSuspect(suspects, cluster);
  });
  let isWhole = true;
  let areTablesAlone = true;
  for (const window of windowsOf(blocks, refcountsPerBlock)) {
    counts.moveTo(window.first, Math.min(window.end, limit));
    await scanReferences(input, counts);
    isWhole &&= counts.damaged === 0;
    areTablesAlone &&= areAlone(input, readable, counts);
    await compare(input, window.blocks, counts, suspects);
    isFirstPass = false;
  }
  // A block that nothing counts is suspect; it lies alone unless its place was counted for something else.
  const isCounted = (offset: number): boolean =>
    hasBlock[Math.floor(offset / geometry.clusterSize / refcountsPerBlock)] === 1;
  areTablesAlone &&= readable.every((index) => isCounted(refcountTableEntryOffset(refcountTable, index)));
  isWhole &&= readable.length === countEntries(refcountTable) && fileSize > 0;
  return { clusters: suspects, isWhole, areTablesAlone };
}

interface Window {
  readonly first: number;
  readonly end: number;
  /** Indexes of the blocks that count its clusters. */
  readonly blocks: readonly number[];
}

/** Windows over what blocks count, so that all of it is in one of them. Always at least one. */
function windowsOf(blocks: readonly number[], refcountsPerBlock: number): Window[] {
  const windows: Window[] = [];
  let start = 0;
  do {
    const first = blocks[start] ?? 0;
    let end = start;
    while (end < blocks.length) {
      const clusters = ((blocks[end] as number) + 1 - first) * refcountsPerBlock;
      if (clusters > WINDOW_CLUSTERS && end > start) break;
      end++;
    }
    const last = blocks[end - 1];
    windows.push({
      first: first * refcountsPerBlock,
      end: last === undefined ? 0 : (last + 1) * refcountsPerBlock,
      blocks: blocks.slice(start, end),
    });
    start = end;
  } while (start < blocks.length);
  return windows;
}

/** Indexes of the refcount blocks that can be read. */
function readableBlocks({ tables, refcountTable, fileSize }: ScanInput): number[] {
  const { clusterSize } = tables.geometry;
  const blocks: number[] = [];
  for (let index = 0; index < refcountTable.byteLength / REFCOUNT_TABLE_ENTRY_BYTES; index++) {
    const offset = refcountTableEntryOffset(refcountTable, index);
    if (offset === 0 || offset >= fileSize) continue;
    if (refcountTableEntryIsAligned(refcountTable, index, clusterSize)) blocks.push(index);
  }
  return blocks;
}

function countEntries(refcountTable: DataView): number {
  let count = 0;
  for (let index = 0; index < refcountTable.byteLength / REFCOUNT_TABLE_ENTRY_BYTES; index++) {
    if (refcountTableEntryOffset(refcountTable, index) !== 0) count++;
  }
  return count;
}

/** True if the tables that are written in place, those that the window has, have no other use. */
function areAlone(
  { tables, refcountTable }: ScanInput,
  blocks: readonly number[],
  counts: ReferenceCounts,
): boolean {
  const { clusterSize } = tables.geometry;
  const isAlone = (cluster: number): boolean =>
    cluster < counts.first || cluster >= counts.end || counts.counts[cluster - counts.first] === 1;
  const active = tables.l1Tables.filter((table) => table.active);
  for (const { offset, length } of [...active, tables.refcountTable]) {
    for (let at = offset; at < offset + length; at += clusterSize) {
      if (!isAlone(at / clusterSize)) return false;
    }
  }
  return blocks.every((index) => isAlone(refcountTableEntryOffset(refcountTable, index) / clusterSize));
}

/** Adds what has more references than its refcount says. */
async function compare(
  { storage, tables, refcountTable, signal }: ScanInput,
  blocks: readonly number[],
  counts: ReferenceCounts,
  suspects: ClusterSet,
): Promise<void> {
  const { clusterSize, refcountsPerBlock, refcountBits } = tables.geometry;
  const codec = refcountCodec(Math.log2(refcountBits));
  let done = counts.first;
  for await (const run of readTableRuns({
    storage,
    count: blocks.length,
    offsetAt: (index) => refcountTableEntryOffset(refcountTable, blocks[index] as number),
    tableBytes: clusterSize,
    signal,
  })) {
    if (run.failure !== undefined) throw run.failure;
    for (let i = run.first; i < run.end; i++) {
      const index = blocks[i] as number;
      const start = refcountTableEntryOffset(refcountTable, index) - run.fileOffset;
      const block = new DataView(run.view.buffer, run.view.byteOffset + start, clusterSize);
      const first = index * refcountsPerBlock;
      addUncounted(counts, done, first, suspects);
      done = first + refcountsPerBlock;
      const at = first - counts.first;
      const entries = Math.min(refcountsPerBlock, counts.end - first);
      for (let entry = 0; entry < entries; entry++) {
        const count = counts.counts[at + entry] as number;
        if (count === 0) continue;
        if (count > codec.get(block, entry) || count === MAX_COUNT) addSuspect(suspects, first + entry);
      }
    }
  }
}

/** Adds what of first .. end is referred to at all: no block counts it. */
function addUncounted(counts: ReferenceCounts, first: number, end: number, suspects: ClusterSet): void {
  for (let cluster = first; cluster < end; cluster++) {
    if (counts.counts[cluster - counts.first] !== 0) addSuspect(suspects, cluster);
  }
}

function addSuspect(suspects: ClusterSet, cluster: number): void {
  suspects.add(cluster);
  if (suspects.pages <= MAX_SUSPECT_PAGES) return;
  throw new Qcow2Error(
    "needs-repair",
    "The image's refcounts contradict its tables nearly everywhere; it was left as it is. A check tells what is wrong",
    { state: "corrupt" },
  );
}
