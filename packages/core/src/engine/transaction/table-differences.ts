/** Which tables an image and the one that it is about to become do not have in common. */
import { L1_ENTRY_BYTES } from "../../format/l1-entry.ts";
import type { TableLocation } from "../image-layout.ts";
import type { ImageTables, L1Location } from "../proof/image-tables.ts";

export interface TableDifferences {
  readonly before: ImageTables;
  readonly after: ImageTables;
}

/**
 * Leaves out what both have: what lies in the same place is the same, because nothing that is in use is written over. Of
 * the active L1 tables, entries that are equal are left out. `l1Before` and `l1After` are their bytes.
 */
export function differencesOf(
  { before, after }: TableDifferences,
  { l1Before, l1After }: { readonly l1Before: Uint8Array; readonly l1After: Uint8Array },
): TableDifferences {
  const [l1TablesBefore, l1TablesAfter] = withoutCommon(before.l1Tables, after.l1Tables, keyOfL1);
  const [bitmapsBefore, bitmapsAfter] = withoutCommon(before.bitmapTables, after.bitmapTables, keyOf);
  const [extentsBefore, extentsAfter] = withoutCommon(before.extents, after.extents, keyOf);
  const isL1Replaced = l1TablesBefore.some(isActive) && l1TablesAfter.some(isActive);
  const own = (tables: readonly L1Location[], bytes: Uint8Array, other: Uint8Array): L1Location[] =>
    tables.map((table) =>
      isActive(table) && isL1Replaced ? { ...table, entries: withoutEqual(bytes, other) } : table,
    );
  return {
    before: {
      ...before,
      l1Tables: own(l1TablesBefore, l1Before, l1After),
      bitmapTables: bitmapsBefore,
      extents: extentsBefore,
    },
    after: {
      ...after,
      l1Tables: own(l1TablesAfter, l1After, l1Before),
      bitmapTables: bitmapsAfter,
      extents: extentsAfter,
    },
  };
}

/** `table` with the 8-byte entries that `other` has in the same place, too, emptied. */
export function withoutEqual(table: Uint8Array, other: Uint8Array): Uint8Array {
  const own = table.slice();
  for (let at = 0; at < Math.min(own.length, other.length); at += L1_ENTRY_BYTES) {
    let isEqual = true;
    for (let byte = at; byte < at + L1_ENTRY_BYTES; byte++) isEqual &&= table[byte] === other[byte];
    if (isEqual) own.fill(0, at, at + L1_ENTRY_BYTES);
  }
  return own;
}

function isActive({ active }: L1Location): boolean {
  return active;
}

function keyOf({ offset, length }: TableLocation): string {
  return `${offset}:${length}`;
}

function keyOfL1({ offset, length, weight, active }: L1Location): string {
  return `${offset}:${length}:${weight}:${active}`;
}

/** Both lists without what is in both, as often as it is. */
function withoutCommon<Item>(
  first: readonly Item[],
  second: readonly Item[],
  key: (item: Item) => string,
): [Item[], Item[]] {
  const left = new Map<string, number>();
  for (const item of second) left.set(key(item), (left.get(key(item)) ?? 0) + 1);
  const common = new Map<string, number>();
  const onlyFirst = first.filter((item) => {
    const count = left.get(key(item)) ?? 0;
    if (count === 0) return true;
    left.set(key(item), count - 1);
    common.set(key(item), (common.get(key(item)) ?? 0) + 1);
    return false;
  });
  const onlySecond = second.filter((item) => {
    const count = common.get(key(item)) ?? 0;
    common.set(key(item), count - 1);
    return count <= 0;
  });
  return [onlyFirst, onlySecond];
}
