/** References of metadata that lies in one piece: header, L1 tables, snapshot table, refcount table, encryption header. */
import type { CheckContext } from "./check-context.ts";
import { KIND_METADATA } from "./reference-window.ts";

/** Counts these structures' clusters, and marks them as metadata. */
export function countMetadata(context: CheckContext): void {
  const { geometry } = context;
  countExtent(context, { offset: 0, length: geometry.clusterSize }, 1);
  for (const table of context.l1Tables) {
    countExtent(context, table, table.weight);
  }
  countExtent(context, context.snapshotTable, 1);
  countExtent(context, context.refcountTable, 1);
  if (context.cryptoHeader !== undefined) {
    countExtent(context, context.cryptoHeader, 1);
  }
}

/** Counts and marks one structure. */
export function countExtent(
  { window }: CheckContext,
  extent: { readonly offset: number; readonly length: number },
  weight: number,
): void {
  window.markRange(extent.offset, extent.length, KIND_METADATA);
  window.countRange(extent.offset, extent.length, weight);
}
