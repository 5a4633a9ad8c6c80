import type { Extent } from "@qcow2/core";

/** One range as `map` prints it. */
export interface MapEntry {
  /** Guest bytes. */
  readonly start: number;
  readonly length: number;
  readonly depth: number;
  readonly present: boolean;
  readonly zero: boolean;
  readonly data: boolean;
  readonly compressed: boolean;
  /** Where the bytes lie in the file that holds them; undefined if nowhere or compressed. */
  readonly offset: number | undefined;
}

/** What is printed for a range in which there is nothing to ask about. */
export function emptyEntry(start: number): MapEntry {
  return {
    start,
    length: 0,
    depth: 0,
    present: false,
    zero: false,
    data: false,
    compressed: false,
    offset: undefined,
  };
}

export function entryOf(extent: Extent): MapEntry {
  return {
    start: extent.offset,
    length: extent.length,
    depth: extent.depth,
    present: extent.present,
    zero: extent.kind === "zero",
    data: extent.stored,
    compressed: extent.compressed,
    offset: extent.hostOffset,
  };
}

/** The entry that covers both if they say the same and continue each other on the host too. */
export function joinEntries(first: MapEntry, next: MapEntry): MapEntry | undefined {
  const same =
    first.zero === next.zero &&
    first.data === next.data &&
    first.compressed === next.compressed &&
    first.depth === next.depth &&
    first.present === next.present &&
    (first.offset === undefined ? next.offset === undefined : first.offset + first.length === next.offset);
  return same ? { ...first, length: first.length + next.length } : undefined;
}

export function mapJson(entry: MapEntry): string {
  const { start, length, depth, present, zero, data, compressed, offset } = entry;
  const place = offset === undefined ? "" : `, "offset": ${offset}`;
  return (
    `{ "start": ${start}, "length": ${length}, "depth": ${depth}, "present": ${present}, "zero": ${zero}, ` +
    `"data": ${data}, "compressed": ${compressed}${place}}`
  );
}

export const MAP_HEADING: string = `${["Offset", "Length", "Mapped to"].map((title) => title.padEnd(16)).join("")}File`;

export function mapLine(entry: MapEntry, fileName: string): string {
  const columns = [entry.start, entry.length, entry.offset ?? 0].map(hexadecimal);
  return `${columns.map((column) => column.padEnd(16)).join("")}${fileName}`;
}

function hexadecimal(value: number): string {
  return value === 0 ? "0" : `0x${value.toString(16)}`;
}
