/** Refcounts that are just wrong numbers, put right where they are: no write of one makes another one worse. */
import { Qcow2Error } from "../../errors.ts";
import { viewOf } from "../../format/uint64.ts";
import { readExactly } from "../../storage/read-exactly.ts";
import { checkImage } from "../check/check-image.ts";
import { describeMismatch } from "../check/compare-refcounts.ts";
import type { ReferenceWindow } from "../check/reference-window.ts";
import type { CheckFinding } from "../check-result.ts";
import { ClusterSet } from "../cluster-set.ts";
import type { ImageLayout } from "../image-layout.ts";
import { RefcountStore } from "../refcount-store.ts";
import type { RepairFile } from "./repair-file.ts";
import type { RepairOptions } from "./repair-options.ts";

export interface FixRefcountsOptions extends Pick<RepairOptions, "signal" | "memoryBytes" | "onRepair"> {
  /** Count more references where there are more. */
  readonly raise: boolean;
  /** Count fewer where there are fewer. Not to be done where something cannot be read: what it refers to looks unused. */
  readonly lower: boolean;
}

export interface FixedRefcounts {
  raised: number;
  lowered: number;
  /**
   * False if some are in blocks that do not exist, or cannot be read, or have something else in their place; those are left
   * as they are.
   */
  complete: boolean;
  /** Clusters with more references than are stored even now: what such a refcount says of them is not to be relied on. */
  readonly undercounted: ClusterSet;
}

/** Makes stored refcounts say how many references there are. */
export async function fixRefcounts(
  file: RepairFile,
  layout: ImageLayout,
  { raise, lower, onRepair, ...options }: FixRefcountsOptions,
): Promise<FixedRefcounts> {
  const undercounted = new ClusterSet();
  const fixed: FixedRefcounts = { raised: 0, lowered: 0, complete: true, undercounted };
  const { storage } = file;
  const onFinding = (finding: CheckFinding): void => noteUndercounted(undercounted, finding, layout);
  // What the file has behind its old end by now is no part of it.
  if (!file.wasWhole(layout.refcountTable)) return { ...fixed, complete: false };
  let store: RefcountStore;
  try {
    store = await RefcountStore.load({
      storage,
      geometry: layout.geometry,
      location: layout.refcountTable,
      cacheBytes: 1,
    });
  } catch (error) {
    if (error instanceof Qcow2Error) return { ...fixed, complete: false };
    throw error;
  }
  await checkImage({ storage, layout }, { ...options, onFinding }, async (window) => {
    const { refcountsPerBlock } = layout.geometry;
    const endBlock = Math.ceil(window.end / refcountsPerBlock);
    for (let block = Math.floor(window.first / refcountsPerBlock); block < endBlock; block++) {
      options.signal?.throwIfAborted();
      await fixBlock({ file, store, block, window, raise, lower, onRepair }, fixed);
    }
  });
  if (fixed.raised + fixed.lowered > 0) await file.flush();
  return fixed;
}

/** Adds the cluster of a finding that tells of more references than the refcount that is stored counts, or can count. */
export function noteUndercounted(
  undercounted: ClusterSet,
  { code, hostOffset }: CheckFinding,
  { geometry }: ImageLayout,
): void {
  if (hostOffset === undefined || (code !== "refcount-overflow" && code !== "refcount-too-low")) return;
  undercounted.add(Math.floor(hostOffset / geometry.clusterSize));
}

interface BlockToFix extends Pick<FixRefcountsOptions, "raise" | "lower" | "onRepair"> {
  readonly file: RepairFile;
  readonly store: RefcountStore;
  /** Index in the refcount table. */
  readonly block: number;
  readonly window: ReferenceWindow;
}

async function fixBlock(
  { file, store, block, window, raise, lower, onRepair }: BlockToFix,
  fixed: FixedRefcounts,
): Promise<void> {
  const { geometry, codec } = store;
  const { refcountsPerBlock, clusterSize } = geometry;
  const first = Math.max(window.first, block * refcountsPerBlock);
  const end = Math.min(window.end, (block + 1) * refcountsPerBlock);
  const counts = window.counts.subarray(first - window.first, end - window.first);
  const before = new Uint8Array(clusterSize);
  let offset: number;
  try {
    offset = store.blockOffset(block);
    if (offset === 0) {
      if (counts.some((count) => count !== 0)) fixed.complete = false;
      return;
    }
    await readExactly(file.storage, offset, before, "Refcount block");
  } catch (error) {
    if (!(error instanceof Qcow2Error)) throw error;
    fixed.complete = false;
    return;
  }
  const after = before.slice();
  const isAlone = file.isAlone("refcounts", { offset, length: clusterSize });
  for (const [index, count] of counts.entries()) {
    const at = first + index - block * refcountsPerBlock;
    const stored = codec.get(viewOf(before), at);
    if (stored === count || (stored < count ? !raise : !lower)) continue;
    if (!isAlone) {
      fixed.complete = false;
      return;
    }
    onRepair?.(`Repairing ${describeMismatch(first + index, stored, count)}`);
    codec.set(viewOf(after), at, count);
    if (stored < count) fixed.raised++;
    else fixed.lowered++;
  }
  await file.change("refcounts", offset, { before, after });
}
