/** COPIED flags of the active tables (specification: "L1 table entry", "L2 table entry", bit 63), by the refcounts. */
import { Qcow2Error } from "../../errors.ts";
import { L1_ENTRY_BYTES, l1EntryCopied, l1EntryOffset } from "../../format/l1-entry.ts";
import { isCompressed, isCopied, l2EntryAt, standardOffset } from "../../format/l2-entry.ts";
import { viewOf } from "../../format/uint64.ts";
import { DEFAULT_REFCOUNT_CACHE_BYTES } from "../../limits.ts";
import { readExactly, readPresent } from "../../storage/read-exactly.ts";
import { describeL1Copied } from "../check/check-l1.ts";
import { hexHalves } from "../check/check-report.ts";
import { describeL2Copied } from "../check/l2-table-checker.ts";
import type { ClusterSet } from "../cluster-set.ts";
import type { ImageLayout } from "../image-layout.ts";
import { RefcountStore } from "../refcount-store.ts";
import type { RepairFile } from "./repair-file.ts";
import type { RepairOptions } from "./repair-options.ts";

const COPIED_FIRST_BYTE = 0x80;
/** Any refcount that says that there is more than one reference. */
const SHARED = 2;

export interface FixCopiedFlagsOptions extends Pick<RepairOptions, "signal" | "onRepair"> {
  /**
   * Clusters that have more references than their refcount says, because it cannot be put right: they are shared, and a
   * write in place would change what another reference reads.
   */
  readonly undercounted: ClusterSet;
}

/**
 * Makes every flag say whether its cluster has a refcount of 1, and one reference. Refcounts must be durable, and right but
 * for those that are named. Returns how many flags were wrong. A table in whose place something else is, too, stays as it is.
 */
export async function fixCopiedFlags(
  file: RepairFile,
  layout: ImageLayout,
  { signal, onRepair, undercounted }: FixCopiedFlagsOptions,
): Promise<number> {
  const { geometry, l1Table, refcountTable } = layout;
  const { storage } = file;
  if (!file.isAlone("l1-table", l1Table)) return 0;
  let fixed = 0;
  const refcounts = await RefcountStore.load({
    storage,
    geometry,
    location: refcountTable,
    cacheBytes: DEFAULT_REFCOUNT_CACHE_BYTES,
  });
  const refcountOf = async (offset: number): Promise<number> => {
    const cluster = offset / geometry.clusterSize;
    if (undercounted.has(cluster)) return SHARED;
    const block = refcounts.blockIndexOf(cluster);
    return await refcounts.withBlock(block, (table) =>
      table === undefined ? 0 : refcounts.codec.get(table.view, cluster % geometry.refcountsPerBlock),
    );
  };
  const l1 = await readPresent(storage, l1Table, "L1 table");
  const before = l1.slice();
  const view = viewOf(l1);
  for (let index = 0; index < l1.length / L1_ENTRY_BYTES; index++) {
    signal?.throwIfAborted();
    const offset = l1EntryOffset(view, index);
    if (offset === 0 || offset % geometry.clusterSize !== 0) continue;
    const table = await unlessUnreadable(async () => {
      const refcount = await refcountOf(offset);
      if (l1EntryCopied(view, index) !== (refcount === 1)) {
        const entry = entryText(view, index * L1_ENTRY_BYTES);
        onRepair?.(`Repairing ${describeL1Copied(index, entry, refcount)}`);
        toggleCopied(view, index * L1_ENTRY_BYTES);
        fixed++;
      }
      return await fixedTable(file, layout, offset, { refcountOf, onRepair });
    });
    if (table === undefined) continue;
    await file.change("l2-table", offset, table);
    fixed += table.fixed;
  }
  await file.change("l1-table", l1Table.offset, { before, after: l1 });
  if (fixed > 0) await file.flush();
  return fixed;
}

/** What cannot be read stays as it is, and the check afterwards says so. */
async function unlessUnreadable<Result>(read: () => Promise<Result>): Promise<Result | undefined> {
  try {
    return await read();
  } catch (error) {
    if (error instanceof Qcow2Error) return undefined;
    throw error;
  }
}

interface FixedTable {
  readonly before: Uint8Array;
  readonly after: Uint8Array;
  /** Flags that were wrong. */
  readonly fixed: number;
}

/** Undefined if something else is in the table's place, too. */
async function fixedTable(
  file: RepairFile,
  { geometry, hasDataFile }: ImageLayout,
  offset: number,
  {
    refcountOf,
    onRepair,
  }: { readonly refcountOf: (offset: number) => Promise<number> } & Pick<RepairOptions, "onRepair">,
): Promise<FixedTable | undefined> {
  if (!file.isAlone("l2-table", { offset, length: geometry.clusterSize })) return undefined;
  let fixed = 0;
  const bytes = new Uint8Array(geometry.clusterSize);
  await readExactly(file.storage, offset, bytes, "L2 table");
  const before = bytes.slice();
  const view = viewOf(bytes);
  for (let index = 0; index < geometry.l2Entries; index++) {
    const at = l2EntryAt(geometry, index);
    const [high, low] = [view.getUint32(at), view.getUint32(at + 4)];
    if (isCompressed(high)) continue;
    const cluster = standardOffset(high, low);
    if (cluster % geometry.clusterSize !== 0) continue;
    // In an external data file, nothing is shared.
    if (hasDataFile ? !isCopied(high) && cluster === 0 : cluster === 0) continue;
    const refcount = hasDataFile ? 1 : await refcountOf(cluster);
    if (isCopied(high) === (refcount === 1)) continue;
    onRepair?.(`Repairing ${describeL2Copied(entryText(view, at), refcount)}`);
    toggleCopied(view, at);
    fixed++;
  }
  return { before, after: bytes, fixed };
}

function entryText(view: DataView, at: number): string {
  return hexHalves(view.getUint32(at), view.getUint32(at + 4));
}

function toggleCopied(view: DataView, at: number): void {
  view.setUint8(at, view.getUint8(at) ^ COPIED_FIRST_BYTE);
}
