/**
 * Work is bounded by what is stored. Every table takes a cluster of the file, so that an image cannot have more of them
 * than its file has clusters; one that names more names some again and again, and whoever followed all entries would work
 * for as long as the entries say: hours for some hundred KiB. Fewer entries than clusters are no more work than reading
 * the file, whatever they say.
 */
import { Qcow2Error } from "../errors.ts";
import { l1EntryOffset } from "../format/l1-entry.ts";
import { refcountTableEntryOffset } from "../format/refcount-entry.ts";
import type { OpenImage } from "./open-image.ts";

interface TableOfTables {
  /** For messages: "L1 table". */
  readonly structure: string;
  readonly entries: number;
  /** Host byte offset that an entry names; 0 for none. */
  readonly offsetAt: (index: number) => number;
}

/**
 * Throws if the image has more entries for L2 tables or refcount blocks than clusters, and two of them name one place.
 * @throws Qcow2Error "corrupt"
 */
export async function assertDistinctTables(image: OpenImage): Promise<void> {
  const { storage, layout, mapping, refcounts } = image;
  const fileClusters = Math.ceil((await storage.size()) / layout.geometry.clusterSize);
  const { l1 } = mapping;
  const { table } = refcounts;
  assertDistinct(fileClusters, {
    structure: "L1 table",
    entries: l1.entries,
    offsetAt: (index) => l1EntryOffset(l1.view, index),
  });
  assertDistinct(fileClusters, {
    structure: "Refcount table",
    entries: table.entries,
    offsetAt: (index) => refcountTableEntryOffset(table.view, index),
  });
}

/** Throws if more than `fileClusters` entries are in use, and two of them name one place. @throws Qcow2Error "corrupt" */
export function assertDistinct(fileClusters: number, { structure, entries, offsetAt }: TableOfTables): void {
  if (entries <= fileClusters) return;
  let used = 0;
  for (let index = 0; index < entries; index++) if (offsetAt(index) !== 0) used++;
  // Tables that are new need not be in the file yet: more of them than clusters are no mistake by themselves.
  if (used <= fileClusters) return;
  const offsets = new Float64Array(used);
  for (let index = 0, next = 0; index < entries; index++) {
    const offset = offsetAt(index);
    if (offset !== 0) offsets[next++] = offset;
  }
  offsets.sort();
  for (let index = 1; index < used; index++) {
    const offset = offsets[index] as number;
    if (offset !== offsets[index - 1]) continue;
    throw new Qcow2Error(
      "corrupt",
      `The ${structure} has ${used} entries in use in a file of ${fileClusters} clusters: ` +
        `several of them name offset 0x${offset.toString(16)}`,
      { structure, offset },
    );
  }
}
