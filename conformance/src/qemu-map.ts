import type { Disk, Extent } from "@qcow2/core";

/** One element of `qemu-img map --output=json`. */
export interface QemuMapEntry {
  readonly start: number;
  readonly length: number;
  readonly depth: number;
  readonly present: boolean;
  readonly zero: boolean;
  readonly data: boolean;
  readonly compressed: boolean;
  readonly offset?: number;
}

/** Our extents in QEMU's words, adjacent ones joined as QEMU joins them. */
export async function qemuMapOf(disk: Disk): Promise<QemuMapEntry[]> {
  const entries: QemuMapEntry[] = [];
  for await (const extent of disk.map()) {
    const entry = entryOf(extent);
    const last = entries.at(-1);
    if (last !== undefined && continues(last, entry)) {
      entries[entries.length - 1] = { ...last, length: last.length + entry.length };
    } else entries.push(entry);
  }
  return entries;
}

function entryOf(extent: Extent): QemuMapEntry {
  return {
    start: extent.offset,
    length: extent.length,
    depth: extent.depth,
    present: extent.present,
    zero: extent.kind === "zero",
    data: extent.stored,
    compressed: extent.compressed,
    ...(extent.hostOffset === undefined ? {} : { offset: extent.hostOffset }),
  };
}

function continues(last: QemuMapEntry, next: QemuMapEntry): boolean {
  return (
    last.depth === next.depth &&
    last.present === next.present &&
    last.zero === next.zero &&
    last.data === next.data &&
    last.compressed === next.compressed &&
    (last.offset === undefined ? next.offset === undefined : last.offset + last.length === next.offset)
  );
}
