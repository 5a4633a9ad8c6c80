/** Holds the refcounts that the image stores against the references that were found. */
import type { CheckContext } from "./check-context.ts";
import { FLAG_STORED_UNKNOWN, KIND_MASK, KIND_OVERLAP } from "./reference-window.ts";
import type { RefcountRange } from "./stored-refcounts.ts";

/**
 * Compares all clusters of the window; returns the last one that is in use or counted as such, -1 if there is none.
 * `clusterCount` is the number of clusters that the file has at least a part of; the one after them counts too if
 * something reaches into it.
 */
export async function compareRefcounts(context: CheckContext, clusterCount: number): Promise<number> {
  const { window, stored, report, signal } = context;
  const isReachedInto = window.end > clusterCount && window.counts[clusterCount - window.first] !== 0;
  const end = isReachedInto ? window.end : Math.min(window.end, clusterCount);
  let highest = -1;
  for await (const range of stored.ranges(window.first, end, signal)) {
    // A block that could not be read before is not trusted now: what depended on it was left out.
    const wasUnknown = ((window.flags[range.first - window.first] as number) & FLAG_STORED_UNKNOWN) !== 0;
    if (range.state === "unknown" || wasUnknown) {
      report.add(
        "error",
        "refcount-block",
        () => ({
          message: `ERROR Can't get refcounts for clusters ${range.first} to ${range.end - 1}: ${range.reason ?? "their refcount block could not be read"}`,
        }),
        range.end - range.first,
      );
    } else {
      highest = Math.max(highest, compareRange(context, range));
    }
  }
  return highest;
}

function compareRange(context: CheckContext, range: RefcountRange): number {
  const { window, stored } = context;
  const { counts, flags } = window;
  const { codec } = stored;
  const { block, index } = range;
  const start = range.first - window.first;
  const count = range.end - range.first;
  let highest = -1;
  for (let i = 0; i < count; i++) {
    const refcount = block === undefined ? 0 : codec.get(block, index + i);
    const references = counts[start + i] as number;
    if (refcount !== 0 || references !== 0) highest = range.first + i;
    if (refcount !== references) reportMismatch(context, range.first + i, refcount, references);
    else if (((flags[start + i] as number) & KIND_MASK) === KIND_OVERLAP)
      reportOverlap(context, range.first + i);
  }
  return highest;
}

function reportMismatch(
  { report, geometry, window }: CheckContext,
  cluster: number,
  refcount: number,
  references: number,
): void {
  const isLeak = refcount > references;
  const hostOffset = cluster * geometry.clusterSize;
  const overlaps = ((window.flags[cluster - window.first] as number) & KIND_MASK) === KIND_OVERLAP;
  report.add(isLeak ? "leak" : "corruption", isLeak ? "leaked-cluster" : "refcount-too-low", () => ({
    message: `${isLeak ? "Leaked" : "ERROR"} ${describeMismatch(cluster, refcount, references)}`,
    hostOffset,
    ...(overlaps ? { overlaps } : {}),
  }));
}

/** As `qemu-img check` describes it, before and while it puts it right. */
export function describeMismatch(cluster: number, refcount: number, references: number): string {
  return `cluster ${cluster} refcount=${refcount} reference=${references}`;
}

/** The refcount is right, but writing through one of the references would destroy what the other one means. */
function reportOverlap({ report, geometry }: CheckContext, cluster: number): void {
  const hostOffset = cluster * geometry.clusterSize;
  report.add("corruption", "overlap", () => ({
    message: `ERROR cluster ${cluster} is used as metadata and for something else`,
    hostOffset,
    overlaps: true,
  }));
}
