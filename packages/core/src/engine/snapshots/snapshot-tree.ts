/** What a snapshot and the active disk have in common: a tree of clusters, and how it is shared. */
import { Qcow2Error } from "../../errors.ts";
import { l1EntriesFor } from "../../format/geometry.ts";
import { L1_ENTRY_BYTES, setL1Entry } from "../../format/l1-entry.ts";
import { encodeSnapshotTable, type SnapshotEntry } from "../../format/snapshot-table.ts";
import { viewOf } from "../../format/uint64.ts";
import { MAX_L1_BYTES, MAX_SNAPSHOT_TABLE_BYTES } from "../../limits.ts";
import { readPresent } from "../../storage/read-exactly.ts";
import type { TableLocation } from "../image-layout.ts";
import type { OpenImage } from "../open-image.ts";
import { clearCopiedFlags, l2TablesOf, referencesOf } from "../transaction/l2-tables-of.ts";
import type { MetadataTransaction } from "../transaction/metadata-transaction.ts";

/**
 * Counts one user more of the tree that `l1` leads to: of its L2 tables and of every cluster that they refer to. No
 * cluster of it belongs to one user alone any more, so none may be written in place: tables that say otherwise are
 * replaced by copies that do not. Returns the L1 table of both users.
 */
export async function shareTree(transaction: MetadataTransaction, l1: Uint8Array): Promise<Uint8Array> {
  const { image, refcounts } = transaction;
  const { geometry } = image.layout;
  const shared = l1.slice();
  for await (const { index, cluster, view } of l2TablesOf(image.storage, geometry, viewOf(l1))) {
    transaction.throwIfAborted();
    for (const { first, count } of referencesOf(geometry, view)) await refcounts.addUser(first, count);
    let offset = cluster * geometry.clusterSize;
    if (clearCopiedFlags(geometry, view)) {
      offset = await transaction.addTable(new Uint8Array(view.buffer, view.byteOffset, view.byteLength));
      await refcounts.change(cluster, 1, -1);
    }
    await refcounts.change(offset / geometry.clusterSize, 1, 1);
    setL1Entry(viewOf(shared), index, { offset, copied: false });
  }
  return shared;
}

/** Counts one user less of the tree that `l1` leads to. */
export async function dropTree(transaction: MetadataTransaction, l1: Uint8Array): Promise<void> {
  const { image, refcounts } = transaction;
  const { geometry, hasDataFile } = image.layout;
  for await (const { cluster, view } of l2TablesOf(image.storage, geometry, viewOf(l1))) {
    transaction.throwIfAborted();
    // Clusters of an external data file are not counted.
    for (const { first, count } of hasDataFile ? [] : referencesOf(geometry, view)) {
      await refcounts.change(first, count, -1);
    }
    await refcounts.change(cluster, 1, -1);
  }
}

/** Where the L1 table of a snapshot is. */
export function snapshotL1Location(entry: SnapshotEntry): TableLocation {
  return { offset: Number(entry.l1TableOffset), length: entry.l1Size * L1_ENTRY_BYTES };
}

/** @throws Qcow2Error "invalid-image" if it is not where a table can be, "truncated", "io" */
export async function readSnapshotL1(
  { storage, layout }: OpenImage,
  entry: SnapshotEntry,
): Promise<Uint8Array> {
  const { offset, length } = snapshotL1Location(entry);
  if (length > MAX_L1_BYTES || offset % layout.geometry.clusterSize !== 0 || !Number.isSafeInteger(offset)) {
    throw new Qcow2Error("invalid-image", "The snapshot's L1 table is not where one can be", {
      structure: "snapshot table",
      offset,
      found: length,
    });
  }
  return await readPresent(storage, { offset, length }, "Snapshot L1 table");
}

/** An L1 table with at least the entries that a disk of `virtualSize` bytes needs. */
export function l1ForSize(transaction: MetadataTransaction, l1: Uint8Array, virtualSize: number): Uint8Array {
  const length = l1EntriesFor(transaction.image.layout.geometry, virtualSize) * L1_ENTRY_BYTES;
  if (length <= l1.length) return l1;
  if (length > MAX_L1_BYTES) {
    throw new Qcow2Error(
      "limit-exceeded",
      `A disk of ${virtualSize} bytes needs an L1 table that is too large`,
      {
        what: "L1 table bytes",
        found: length,
        maximum: MAX_L1_BYTES,
      },
    );
  }
  const longer = new Uint8Array(length);
  longer.set(l1);
  return longer;
}

/**
 * What a change of an image with version 3 does to a table whose entries are too short for that version, as old programs
 * left them: they are completed. A snapshot that does not say its disk's size has that of the image before the change.
 */
export async function completeSnapshotTable(
  transaction: MetadataTransaction,
): Promise<{ readonly offset: number; readonly count: number } | undefined> {
  const { snapshots } = transaction.image;
  if (snapshots.every(({ diskSize }) => diskSize !== undefined)) return undefined;
  return await replaceSnapshotTable(transaction, snapshots);
}

/**
 * Writes a new snapshot table in the place of the image's own; its entries are complete.
 * @throws Qcow2Error "needs-repair" if one would be unreadable then, "limit-exceeded"
 */
export async function replaceSnapshotTable(
  transaction: MetadataTransaction,
  entries: readonly SnapshotEntry[],
): Promise<{ readonly offset: number; readonly count: number }> {
  const { layout, snapshotTableBytes } = transaction.image;
  const diskSize = BigInt(layout.virtualSize);
  const needed = l1EntriesFor(layout.geometry, layout.virtualSize);
  if (entries.some((entry) => entry.diskSize === undefined && entry.l1Size < needed)) {
    throw new Qcow2Error(
      "needs-repair",
      "A snapshot does not say its disk's size, and could not be read any more with that of the image; it was left as it is",
      { state: "corrupt" },
    );
  }
  const bytes = encodeSnapshotTable(
    entries.map((entry) => ({ ...entry, diskSize: entry.diskSize ?? diskSize })),
  );
  if (bytes.length > MAX_SNAPSHOT_TABLE_BYTES) {
    throw new Qcow2Error("limit-exceeded", "Snapshot table is too big", {
      what: "snapshot table",
      found: bytes.length,
      maximum: MAX_SNAPSHOT_TABLE_BYTES,
    });
  }
  await transaction.dropTable({ offset: layout.snapshotsOffset, length: snapshotTableBytes });
  return { offset: await transaction.addTable(bytes), count: entries.length };
}
