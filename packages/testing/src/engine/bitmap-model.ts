/** What persistent bitmaps must say after changes of the disk and of themselves. */
import type { BitmapAction } from "@qcow2/core";
import type { BitmapState } from "./image-state.ts";

/** Bitmaps that follow the disk after its bytes offset .. offset + length were changed. */
export function noteChange(
  bitmaps: readonly BitmapState[],
  { offset, length }: { readonly offset: number; readonly length: number },
): BitmapState[] {
  if (length === 0) return [...bitmaps];
  return bitmaps.map((bitmap) => {
    if (!bitmap.enabled || bitmap.dirty === "in use") return bitmap;
    const { granularity } = bitmap;
    const first = Math.floor(offset / granularity);
    const end = Math.ceil((offset + length) / granularity);
    return { ...bitmap, dirty: union(bitmap.dirty, indexes(first, end)) };
  });
}

export function resizeBitmaps(bitmaps: readonly BitmapState[], size: number): BitmapState[] {
  return bitmaps.map((bitmap) =>
    bitmap.dirty === "in use"
      ? bitmap
      : { ...bitmap, dirty: bitmap.dirty.filter((index) => index * bitmap.granularity < size) },
  );
}

/** Undefined if one of the actions has to be refused. */
export function applyActions(
  bitmaps: readonly BitmapState[],
  actions: readonly BitmapAction[],
  size: number,
): readonly BitmapState[] | undefined {
  let current: readonly BitmapState[] = bitmaps;
  for (const action of actions) {
    const found = current.find(({ name }) => name === action.name);
    if (action.kind === "add") {
      if (found !== undefined) return undefined;
      const { name, granularity = 65536, enabled = true } = action;
      current = [...current, { name, granularity, enabled, dirty: [] }];
      continue;
    }
    if (found === undefined) return undefined;
    if (action.kind === "remove") {
      current = current.filter((other) => other !== found);
      continue;
    }
    if (found.dirty === "in use") return undefined;
    const changed = change(found, action, current, size);
    if (changed === undefined) return undefined;
    current = current.map((other) => (other === found ? changed : other));
  }
  return current;
}

function change(
  bitmap: BitmapState,
  action: Exclude<BitmapAction, { kind: "add" | "remove" }>,
  all: readonly BitmapState[],
  size: number,
): BitmapState | undefined {
  if (bitmap.dirty === "in use") return undefined;
  if (action.kind === "clear") return { ...bitmap, dirty: [] };
  if (action.kind !== "merge") return { ...bitmap, enabled: action.kind === "enable" };
  const source = all.find(({ name }) => name === action.source);
  if (source === undefined || source.dirty === "in use") return undefined;
  const added = source.dirty.flatMap((index) => {
    const start = index * source.granularity;
    const end = Math.min(start + source.granularity, size);
    return indexes(Math.floor(start / bitmap.granularity), Math.ceil(end / bitmap.granularity));
  });
  return { ...bitmap, dirty: union(bitmap.dirty, added) };
}

function indexes(first: number, end: number): number[] {
  return Array.from({ length: end - first }, (_, index) => first + index);
}

function union(first: readonly number[], second: readonly number[]): number[] {
  return [...new Set([...first, ...second])].sort((a, b) => a - b);
}
