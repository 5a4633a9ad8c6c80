/** Changes L2 entries over a guest range of any length, slice by slice. */
import { type MappedSlice, releaseSlice, writableSlice } from "./l2-tables.ts";
import type { WriteContext } from "./write-context.ts";

/**
 * Calls `change`, which is synchronous, with each slice that maps a part of start .. end, and with that part. Tables
 * are written out on the way when there are many: a request has no bound of its own, and the tables of a whole disk
 * would gather in memory. The caller holds the range lock of the clusters.
 */
export async function changeSlices(
  context: WriteContext,
  start: number,
  end: number,
  change: (slice: MappedSlice, start: number, end: number) => void,
  signal?: AbortSignal | undefined,
): Promise<void> {
  // What is given up on the way is freed by its refcount.
  await context.proof.proveWritable(context.image, signal);
  for (let at = start; at < end; ) {
    signal?.throwIfAborted();
    const slice = await context.allocation.run(() => writableSlice(context, at));
    const sliceEnd = Math.min(end, slice.end);
    try {
      // First, so that a damaged entry on the way does not keep the ones before it in memory alone.
      context.image.mapping.l2Slices.markDirty(slice.table);
      change(slice, at, sliceEnd);
    } finally {
      releaseSlice(slice);
    }
    at = sliceEnd;
    if (context.commit.underPressure) await context.commit.write();
  }
}
