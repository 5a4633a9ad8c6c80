import { changeOf, type EngineOperation } from "./engine-operations.ts";
import type { EngineShape } from "./engine-shapes.ts";

/** Batches in which no two operations touch the same sector, so that each sector's contents have one order. */
export function separateBatches(
  batches: readonly (readonly EngineOperation[])[],
  shape: EngineShape,
): readonly (readonly EngineOperation[])[] {
  const separated: EngineOperation[][] = [];
  for (const batch of batches) {
    let current: EngineOperation[] = [];
    let ranges: { readonly start: number; readonly end: number }[] = [];
    for (const operation of batch) {
      const change = changeOf(operation, shape);
      const start = Math.floor((change?.offset ?? 0) / 512) * 512;
      const end = change === undefined ? start : Math.ceil((change.offset + change.bytes.length) / 512) * 512;
      if (ranges.some((range) => range.start < end && start < range.end)) {
        separated.push(current);
        current = [];
        ranges = [];
      }
      current.push(operation);
      ranges.push({ start, end });
    }
    if (current.length > 0) separated.push(current);
  }
  return separated;
}
