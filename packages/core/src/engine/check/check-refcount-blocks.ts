/** The refcount table's entries, and the blocks that they point at. */
import {
  REFCOUNT_TABLE_ENTRY_BYTES,
  refcountTableEntryHasReservedBits,
  refcountTableEntryIsAligned,
} from "../../format/refcount-entry.ts";
import type { CheckContext } from "./check-context.ts";
import type { FindingDetails } from "./check-report.ts";
import { KIND_MASK, KIND_METADATA, KIND_OVERLAP } from "./reference-window.ts";

/** Marks all refcount blocks of the window, so that other uses of their clusters are noticed. */
export function markRefcountBlocks(context: CheckContext): void {
  const { stored, window, geometry } = context;
  for (let index = 0; index < stored.presentEntries; index++) {
    const offset = stored.blockOffset(index);
    if (offset === 0 || problemOf(context, index) !== undefined) continue;
    window.markRange(offset, geometry.clusterSize, KIND_METADATA);
  }
}

/** Counts the refcount blocks; each must be the only use of its cluster. Everything else has been counted before. */
export function countRefcountBlocks(context: CheckContext): void {
  const { stored, window, report, geometry } = context;
  for (let index = 0; index < stored.presentEntries; index++) {
    const offset = stored.blockOffset(index);
    if (offset === 0 && !refcountTableEntryHasReservedBits(stored.table, index)) continue;
    const problem = problemOf(context, index);
    if (problem !== undefined) {
      if (window.isFirstPass)
        report.add("corruption", "refcount-block", () => describe(context, index, problem));
      continue;
    }
    const cluster = offset / geometry.clusterSize;
    if (offset === 0 || cluster < window.first || cluster >= window.end) continue;
    // Narrow refcounts cannot count a second use; then it is this call that tells.
    window.countCluster(cluster, 1, index);
    const at = cluster - window.first;
    const count = window.counts[at] as number;
    if (count === 1) continue;
    const flags = window.flags[at] as number;
    // Reported here, so an overlap is no news any more.
    if ((flags & KIND_MASK) === KIND_OVERLAP) window.flags[at] = (flags & ~KIND_MASK) | KIND_METADATA;
    report.add("corruption", "refcount-block", () =>
      describe(context, index, `refcount block ${index} refcount=${count}`),
    );
  }
}

/** What is wrong with an entry by itself. */
function problemOf({ stored, geometry, fileSize }: CheckContext, index: number): string | undefined {
  if (refcountTableEntryHasReservedBits(stored.table, index))
    return `refcount table entry ${index} has reserved bits set`;
  if (!refcountTableEntryIsAligned(stored.table, index, geometry.clusterSize))
    return `refcount block ${index} is not cluster aligned; refcount table entry corrupted`;
  return stored.blockOffset(index) >= fileSize ? `refcount block ${index} is outside image` : undefined;
}

function describe({ refcountTable }: CheckContext, index: number, problem: string): FindingDetails {
  return {
    message: `ERROR ${problem}`,
    refcountBlock: index,
    hostOffset: refcountTable.offset + index * REFCOUNT_TABLE_ENTRY_BYTES,
  };
}
