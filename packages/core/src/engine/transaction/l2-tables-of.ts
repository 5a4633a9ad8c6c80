/** The L2 tables that an L1 table leads to, read from the disk, and the host clusters that they refer to. */
import { Qcow2Error } from "../../errors.ts";
import type { Geometry } from "../../format/geometry.ts";
import { L1_ENTRY_BYTES, l1EntryOffset } from "../../format/l1-entry.ts";
import {
  decodeCompressedDescriptor,
  isCompressed,
  isCopied,
  l2EntryAt,
  standardOffset,
} from "../../format/l2-entry.ts";
import { viewOf } from "../../format/uint64.ts";
import { assertPosition, readExactly } from "../../storage/read-exactly.ts";
import type { Storage } from "../../storage/storage.ts";
import type { ShadowRefcounts } from "./shadow-refcounts.ts";

/** Bit 63 of an entry, in its first byte. */
const COPIED_FIRST_BYTE = 0x80;

export interface L2TableOf {
  /** Index in the L1 table. */
  readonly index: number;
  /** Host cluster. */
  readonly cluster: number;
  /** Valid until the next table is asked for. */
  readonly view: DataView;
}

/** @throws Qcow2Error "corrupt", "truncated", "io" */
export async function* l2TablesOf(
  storage: Storage,
  geometry: Geometry,
  l1: DataView,
): AsyncGenerator<L2TableOf> {
  const bytes = new Uint8Array(geometry.clusterSize);
  const view = viewOf(bytes);
  for (let index = 0; index < l1.byteLength / L1_ENTRY_BYTES; index++) {
    const offset = l1EntryOffset(l1, index);
    if (offset === 0) continue;
    if (offset % geometry.clusterSize !== 0) {
      throw new Qcow2Error(
        "corrupt",
        `L2 table offset 0x${offset.toString(16)} invalid (L1 index ${index})`,
        { structure: "L1 table", offset },
      );
    }
    await readExactly(storage, offset, bytes, "L2 table");
    yield { index, cluster: offset / geometry.clusterSize, view };
  }
}

/** The host clusters first .. first + count that a table refers to, in its order, each as often as it does. */
export function referencesOf(
  geometry: Geometry,
  l2: DataView,
): { readonly first: number; readonly count: number }[] {
  const runs: { first: number; count: number }[] = [];
  const add = (first: number, count: number): void => {
    const last = runs[runs.length - 1];
    if (last !== undefined && last.first + last.count === first) last.count += count;
    else runs.push({ first, count });
  };
  for (let index = 0; index < geometry.l2Entries; index++) {
    const at = l2EntryAt(geometry, index);
    const high = l2.getUint32(at);
    const low = l2.getUint32(at + 4);
    if (isCompressed(high)) {
      const { offset, length } = decodeCompressedDescriptor(geometry, high, low);
      assertPosition(offset, length, "Compressed cluster");
      const first = Math.floor(offset / geometry.clusterSize);
      add(first, Math.floor((offset + length - 1) / geometry.clusterSize) - first + 1);
      continue;
    }
    const cluster = standardCluster(geometry, high, low);
    if (cluster !== 0) add(cluster, 1);
  }
  return runs;
}

/** Clears the COPIED flag of all entries; false if none had it. */
export function clearCopiedFlags(geometry: Geometry, l2: DataView): boolean {
  let changed = false;
  for (let index = 0; index < geometry.l2Entries; index++) {
    const at = l2EntryAt(geometry, index);
    if (!isCopied(l2.getUint32(at))) continue;
    l2.setUint8(at, l2.getUint8(at) & ~COPIED_FIRST_BYTE);
    changed = true;
  }
  return changed;
}

/**
 * Makes the COPIED flag of every entry say whether its host cluster has a refcount of 1 (specification: "L2 table
 * entry", bit 63); false if they all did.
 */
export async function setCopiedFlags(
  geometry: Geometry,
  l2: DataView,
  refcounts: ShadowRefcounts,
): Promise<boolean> {
  let changed = false;
  for (let index = 0; index < geometry.l2Entries; index++) {
    const at = l2EntryAt(geometry, index);
    const high = l2.getUint32(at);
    if (isCompressed(high)) continue;
    const cluster = standardCluster(geometry, high, l2.getUint32(at + 4));
    if (cluster === 0) continue;
    const isOnlyOne = (refcounts.getResident(cluster) ?? (await refcounts.get(cluster))) === 1;
    if (isOnlyOne === isCopied(high)) continue;
    l2.setUint8(at, l2.getUint8(at) ^ COPIED_FIRST_BYTE);
    changed = true;
  }
  return changed;
}

/** The host cluster of a standard descriptor; 0 if it has none. @throws Qcow2Error "corrupt", "unsafe-offset" */
export function standardCluster(geometry: Geometry, high: number, low: number): number {
  const offset = standardOffset(high, low);
  assertPosition(offset, geometry.clusterSize, "Data cluster");
  if (offset % geometry.clusterSize === 0) return offset / geometry.clusterSize;
  throw new Qcow2Error("corrupt", `Cluster offset 0x${offset.toString(16)} unaligned in an L2 table`, {
    structure: "L2 table",
    offset,
  });
}
