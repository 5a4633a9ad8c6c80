/**
 * Compressed clusters of one read, put together by where they are stored: writers that compress on several threads may
 * store them in any order, and programs that overwrite them leave them far apart.
 */
import type { Geometry } from "../format/geometry.ts";
import type { ResolvedExtent } from "./resolve.ts";

/** Host bytes between two compressed clusters that are read for nothing rather than with a request of their own. */
const MAX_GAP_BYTES = 65536;
/** Input of a batch: bounds its memory. */
const MAX_BATCH_BYTES: number = 2 * 2 ** 20;

/** Host bytes `hostOffset`, `length`, which a batch has from `inputStart` of its input on. */
export interface StoredPart {
  readonly hostOffset: number;
  readonly inputStart: number;
  length: number;
}

/** Two or more whole clusters, compressed. */
export interface CompressedBatch {
  readonly kind: "compressed-batch";
  /** In the order in which they are stored. `inputStart`: where the input has a cluster. */
  readonly clusters: { readonly extent: ResolvedExtent; readonly inputStart: number }[];
  /** What is read of the storage, in the order of the input, which they fill. */
  readonly parts: StoredPart[];
  inputLength: number;
}

type StorageRead = CompressedBatch | { readonly kind: "extent"; readonly extent: ResolvedExtent };

/** What `extents` take to read: whole compressed clusters in batches, and everything else one by one. */
export function storageReads(geometry: Geometry, extents: readonly ResolvedExtent[]): StorageRead[] {
  const reads: StorageRead[] = [];
  const compressed: ResolvedExtent[] = [];
  for (const extent of extents) {
    const isWhole = extent.kind === "compressed" && extent.length === geometry.clusterSize;
    if (isWhole) compressed.push(extent);
    else reads.push({ kind: "extent", extent });
  }
  for (const batch of batchesOf(compressed)) {
    const [first, ...others] = batch.clusters;
    // One alone goes the way of small reads.
    const isAlone = first !== undefined && others.length === 0;
    reads.push(isAlone ? { kind: "extent", extent: first.extent } : batch);
  }
  return reads;
}

function batchesOf(compressed: readonly ResolvedExtent[]): CompressedBatch[] {
  const stored = [...compressed].sort((first, second) => hostOffsetOf(first) - hostOffsetOf(second));
  const batches: CompressedBatch[] = [];
  for (const extent of stored) {
    const last = batches.at(-1);
    if (last !== undefined && addTo(last, extent)) continue;
    const batch: CompressedBatch = { kind: "compressed-batch", clusters: [], parts: [], inputLength: 0 };
    addTo(batch, extent);
    batches.push(batch);
  }
  return batches;
}

/** False if there is no room for it in a batch that has others. */
function addTo(batch: CompressedBatch, extent: ResolvedExtent): boolean {
  const hostOffset = hostOffsetOf(extent);
  const length = extent.compressedLength as number;
  const part = batch.parts.at(-1);
  // Stored lengths count in sectors, so that a cluster may begin where the one before it seems to go on.
  const near =
    part !== undefined && hostOffset <= part.hostOffset + part.length + MAX_GAP_BYTES ? part : undefined;
  const inputStart = near === undefined ? batch.inputLength : near.inputStart + hostOffset - near.hostOffset;
  const inputLength = Math.max(batch.inputLength, inputStart + length);
  if (part !== undefined && inputLength > MAX_BATCH_BYTES) return false;
  if (near === undefined) batch.parts.push({ hostOffset, inputStart, length });
  else near.length = inputLength - near.inputStart;
  batch.inputLength = inputLength;
  batch.clusters.push({ extent, inputStart });
  return true;
}

function hostOffsetOf(extent: ResolvedExtent): number {
  return extent.hostOffset as number;
}
