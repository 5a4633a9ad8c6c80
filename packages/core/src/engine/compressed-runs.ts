/** Compressed clusters that are stored side by side are read together. */
import type { Geometry } from "../format/geometry.ts";
import type { ResolvedExtent } from "./resolve.ts";

/** Host bytes between two compressed clusters that are read for nothing rather than with a request of their own. */
const MAX_GAP_BYTES = 65536;
/** Host bytes of a run: bounds the memory of its input. */
const MAX_RUN_BYTES: number = 2 * 2 ** 20;

/** Two or more whole clusters, compressed, whose stored bytes lie within host bytes start .. end. */
export interface CompressedRun {
  readonly kind: "compressed-run";
  readonly clusters: ResolvedExtent[];
  readonly start: number;
  end: number;
}

type StorageRead = CompressedRun | { readonly kind: "extent"; readonly extent: ResolvedExtent };

/** What `extents` take to read: one request for each, but one for a run of compressed clusters. */
export function storageReads(geometry: Geometry, extents: readonly ResolvedExtent[]): StorageRead[] {
  const reads: StorageRead[] = [];
  let run: CompressedRun | undefined;
  for (const extent of extents) {
    if (extent.kind !== "compressed" || extent.length !== geometry.clusterSize) {
      run = undefined;
      reads.push({ kind: "extent", extent });
      continue;
    }
    const start = extent.hostOffset as number;
    const end = start + (extent.compressedLength as number);
    if (run !== undefined && continues(run, { start, end })) {
      run.clusters.push(extent);
      run.end = Math.max(run.end, end);
    } else {
      run = { kind: "compressed-run", clusters: [extent], start, end };
      reads.push(run);
    }
  }
  return reads.map((read) =>
    read.kind === "compressed-run" && read.clusters.length === 1
      ? { kind: "extent", extent: read.clusters[0] as ResolvedExtent }
      : read,
  );
}

/** Stored lengths count in sectors, so that a cluster may begin where the one before it seems to go on. */
function continues(run: CompressedRun, next: { readonly start: number; readonly end: number }): boolean {
  return (
    next.start >= run.start && next.start <= run.end + MAX_GAP_BYTES && next.end <= run.start + MAX_RUN_BYTES
  );
}
