/** Gives up guest clusters: their content is not needed any more, and their host clusters can be used again. */
import { roundDown, roundUp } from "../format/geometry.ts";
import { changeSlices } from "./change-slices.ts";
import { punchDataFile, zeroRawDataFile } from "./data-file.ts";
import { entryAt, entryOf } from "./guest-writer.ts";
import { ALL_SUBCLUSTERS, freeEntryClusters, writeStandardEntry } from "./l2-editing.ts";
import type { MappedSlice } from "./l2-tables.ts";
import { hasBacking } from "./open-image.ts";
import type { WriteContext } from "./write-context.ts";

export interface DiscardOptions {
  /** Let the backing file show through again, instead of zeroes. */
  readonly revealBacking: boolean;
  readonly signal: AbortSignal | undefined;
}

/**
 * Discards the whole clusters within start .. end; the cluster that the disk ends in counts as whole. They read as
 * zeroes afterwards. In a version 2 image with a backing file there is no way to say so without writing zeroes, so
 * that nothing is done, as a discard is a hint. The caller holds the range lock of the clusters.
 */
export async function discardGuestRange(
  context: WriteContext,
  start: number,
  end: number,
  { revealBacking, signal }: DiscardOptions,
): Promise<void> {
  const { image } = context;
  const { version, geometry } = image.mapping;
  if (version < 3 && hasBacking(image) && !revealBacking) return;
  const first = roundUp(start, geometry.clusterSize);
  const last = end === image.size ? end : roundDown(end, geometry.clusterSize);
  if (first >= last) return;
  await zeroRawDataFile(context, first, last);
  await discardClusters(context, first, last, { revealBacking, signal });
  if (!revealBacking) await punchDataFile(context, first, last);
}

/** Gives up the clusters that begin within first .. last. The caller holds the range lock of the clusters. */
export async function discardClusters(
  context: WriteContext,
  first: number,
  last: number,
  { revealBacking, signal }: DiscardOptions,
): Promise<void> {
  const { clusterSize } = context.image.mapping.geometry;
  await changeSlices(
    context,
    first,
    last,
    (slice, from, to) => {
      for (let at = from; at < to; at += clusterSize) discardCluster(context, slice, at, revealBacking);
    },
    signal,
  );
}

function discardCluster(
  context: WriteContext,
  slice: MappedSlice,
  clusterStart: number,
  revealBacking: boolean,
): void {
  const { mapping } = context.image;
  const old = entryOf(context, slice, clusterStart);
  const isEmpty = !old.compressed && old.hostOffset === undefined;
  // Nothing to give up, and nothing to hide: subclusters that read as zeroes do so either way.
  if (isEmpty && (revealBacking ? old.zeroBits === 0 : !hasBacking(context.image))) return;
  writeStandardEntry(mapping.geometry, slice.table.view, entryAt(mapping.geometry, slice, clusterStart), {
    hostOffset: undefined,
    copied: false,
    allocBits: 0,
    zeroBits: revealBacking || mapping.version < 3 ? 0 : ALL_SUBCLUSTERS,
  });
  freeEntryClusters(context, old);
}
