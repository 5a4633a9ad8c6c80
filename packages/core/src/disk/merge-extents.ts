import type { Extent } from "./disk.ts";

/** Joins neighbours that say the same; stored ones only where their host bytes follow each other as well. */
export async function* mergeExtents(extents: AsyncIterable<Extent>): AsyncGenerator<Extent> {
  let pending: Extent | undefined;
  for await (const extent of extents) {
    if (pending === undefined) {
      pending = extent;
    } else if (continues(pending, extent)) {
      pending = { ...pending, length: pending.length + extent.length };
    } else {
      yield pending;
      pending = extent;
    }
  }
  if (pending !== undefined) yield pending;
}

function continues(first: Extent, second: Extent): boolean {
  return (
    first.kind === second.kind &&
    first.present === second.present &&
    first.stored === second.stored &&
    first.depth === second.depth &&
    first.compressed === second.compressed &&
    (first.hostOffset === undefined
      ? second.hostOffset === undefined
      : second.hostOffset === first.hostOffset + first.length)
  );
}
