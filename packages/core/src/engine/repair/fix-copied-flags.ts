/** COPIED flags of the active tables (specification: "L1 table entry", "L2 table entry", bit 63), by the refcounts. */
import { Qcow2Error } from "../../errors.ts";
import { L1_ENTRY_BYTES, l1EntryCopied, l1EntryOffset } from "../../format/l1-entry.ts";
import { isCompressed, isCopied, l2EntryAt, standardOffset } from "../../format/l2-entry.ts";
import { viewOf } from "../../format/uint64.ts";
import { DEFAULT_REFCOUNT_CACHE_BYTES } from "../../limits.ts";
import { readExactly } from "../../storage/read-exactly.ts";
import type { Storage } from "../../storage/storage.ts";
import type { ImageLayout } from "../image-layout.ts";
import { RefcountStore } from "../refcount-store.ts";
import { writeChangedSectors } from "./fix-refcounts.ts";

const COPIED_FIRST_BYTE = 0x80;

/**
 * Makes every flag say whether its cluster has a refcount of 1. Refcounts must be right and durable. Returns how many
 * flags were wrong.
 */
export async function fixCopiedFlags(
  storage: Storage,
  layout: ImageLayout,
  { signal }: { readonly signal?: AbortSignal | undefined },
): Promise<number> {
  const { geometry, l1Table, refcountTable } = layout;
  let fixed = 0;
  const refcounts = await RefcountStore.load({
    storage,
    geometry,
    location: refcountTable,
    cacheBytes: DEFAULT_REFCOUNT_CACHE_BYTES,
  });
  const isOnlyOne = async (offset: number): Promise<boolean> => {
    const cluster = offset / geometry.clusterSize;
    const block = refcounts.blockIndexOf(cluster);
    return await refcounts.withBlock(
      block,
      (table) =>
        table !== undefined && refcounts.codec.get(table.view, cluster % geometry.refcountsPerBlock) === 1,
    );
  };
  const l1 = new Uint8Array(l1Table.length);
  await readExactly(storage, l1Table.offset, l1, "L1 table");
  const before = l1.slice();
  const view = viewOf(l1);
  for (let index = 0; index < l1.length / L1_ENTRY_BYTES; index++) {
    signal?.throwIfAborted();
    const offset = l1EntryOffset(view, index);
    if (offset === 0 || offset % geometry.clusterSize !== 0) continue;
    try {
      fixed += await fixTable(storage, layout, offset, isOnlyOne);
      if (l1EntryCopied(view, index) === (await isOnlyOne(offset))) continue;
      toggleCopied(view, index * L1_ENTRY_BYTES);
      fixed++;
    } catch (error) {
      // What cannot be read stays as it is, and the check afterwards says so.
      if (!(error instanceof Qcow2Error)) throw error;
    }
  }
  await writeChangedSectors(storage, l1Table.offset, { before, after: l1 });
  if (fixed > 0) await storage.flush();
  return fixed;
}

async function fixTable(
  storage: Storage,
  { geometry, hasDataFile }: ImageLayout,
  offset: number,
  isOnlyOne: (offset: number) => Promise<boolean>,
): Promise<number> {
  let fixed = 0;
  const bytes = new Uint8Array(geometry.clusterSize);
  await readExactly(storage, offset, bytes, "L2 table");
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
    if (isCopied(high) === (hasDataFile || (await isOnlyOne(cluster)))) continue;
    toggleCopied(view, at);
    fixed++;
  }
  await writeChangedSectors(storage, offset, { before, after: bytes });
  return fixed;
}

function toggleCopied(view: DataView, at: number): void {
  view.setUint8(at, view.getUint8(at) ^ COPIED_FIRST_BYTE);
}
