/**
 * Version 2 has no mark for clusters that read as zeroes: where the image or one of its snapshots has one, a new cluster
 * of zeroes takes its place, or nothing, if nothing reads as zeroes, too.
 */
import { Qcow2Error } from "../../errors.ts";
import type { Geometry } from "../../format/geometry.ts";
import { setL1Entry } from "../../format/l1-entry.ts";
import { hasZeroFlag, isCompressed, l2EntryAt } from "../../format/l2-entry.ts";
import type { SnapshotEntry } from "../../format/snapshot-table.ts";
import { viewOf } from "../../format/uint64.ts";
import type { TableLocation } from "../image-layout.ts";
import { writeStandardEntry } from "../l2-editing.ts";
import { hasBacking } from "../open-image.ts";
import { readSnapshotL1, replaceSnapshotTable, snapshotL1Location } from "../snapshots/snapshot-tree.ts";
import { l2TablesOf, standardCluster } from "../transaction/l2-tables-of.ts";
import type { HeaderChange, MetadataTransaction } from "../transaction/metadata-transaction.ts";

/** A table that took the place of another, for everybody who uses that. */
interface ExpandedTable {
  /** Host byte offset. */
  readonly offset: number;
  /** Host clusters that it refers to in the place of the old table's. */
  readonly added: readonly ClusterRun[];
  readonly dropped: readonly ClusterRun[];
}

interface ClusterRun {
  readonly first: number;
  readonly count: number;
}

/** @throws Qcow2Error "invalid-option" for clusters that version 2 cannot decompress */
export async function expandZeroClusters(
  transaction: MetadataTransaction,
): Promise<Pick<HeaderChange, "l1Table" | "snapshots">> {
  const { image } = transaction;
  const { l1 } = image.mapping;
  const expansion = new ZeroExpansion(transaction);
  const active = await expansion.expandTree(l1.bytes);
  let l1Table: TableLocation | undefined;
  if (active !== undefined) {
    await transaction.dropTable({ offset: l1.offset, length: active.length });
    l1Table = { offset: await transaction.addTable(active), length: active.length };
  }
  let changed = false;
  const entries: SnapshotEntry[] = [];
  for (const entry of image.snapshots) {
    const own = await expansion.expandTree(await readSnapshotL1(image, entry));
    if (own === undefined) {
      entries.push(entry);
      continue;
    }
    await transaction.dropTable(snapshotL1Location(entry));
    entries.push({ ...entry, l1TableOffset: BigInt(await transaction.addTable(own)) });
    changed = true;
  }
  return { l1Table, snapshots: changed ? await replaceSnapshotTable(transaction, entries) : undefined };
}

class ZeroExpansion {
  readonly #transaction: MetadataTransaction;
  readonly #geometry: Geometry;
  readonly #hasBacking: boolean;
  readonly #isZstd: boolean;
  /** By the old table's cluster; only tables that several L1 tables may share. */
  readonly #expanded = new Map<number, ExpandedTable>();

  constructor(transaction: MetadataTransaction) {
    const { layout } = transaction.image;
    this.#transaction = transaction;
    this.#geometry = layout.geometry;
    this.#hasBacking = hasBacking(transaction.image);
    this.#isZstd = layout.compressionType === "zstd";
  }

  /** The L1 table of the expanded tree; undefined if there is nothing to expand. */
  async expandTree(l1: Uint8Array): Promise<Uint8Array | undefined> {
    const { image, refcounts } = this.#transaction;
    const own = l1.slice();
    let changed = false;
    for await (const { index, cluster, view } of l2TablesOf(image.storage, this.#geometry, viewOf(l1))) {
      this.#transaction.throwIfAborted();
      const known = this.#expanded.get(cluster);
      const isShared = known !== undefined || (await refcounts.get(cluster)) > 1;
      const expanded = known ?? (await this.#expandTable(view, isShared));
      if (expanded === undefined) continue;
      if (known !== undefined) {
        await refcounts.change(expanded.offset / this.#geometry.clusterSize, 1, 1);
        for (const { first, count } of expanded.added) await refcounts.change(first, count, 1);
      }
      for (const { first, count } of expanded.dropped) await refcounts.change(first, count, -1);
      await refcounts.change(cluster, 1, -1);
      if (isShared) this.#expanded.set(cluster, expanded);
      setL1Entry(viewOf(own), index, { offset: expanded.offset, copied: !isShared });
      changed = true;
    }
    return changed ? own : undefined;
  }

  async #expandTable(l2: DataView, isShared: boolean): Promise<ExpandedTable | undefined> {
    const geometry = this.#geometry;
    const zeroes: { readonly index: number; readonly cluster: number }[] = [];
    for (let index = 0; index < geometry.l2Entries; index++) {
      const at = l2EntryAt(geometry, index);
      const [high, low] = [l2.getUint32(at), l2.getUint32(at + 4)];
      if (isCompressed(high)) {
        if (this.#isZstd) throw zstdClusters();
      } else if (hasZeroFlag(low)) {
        zeroes.push({ index, cluster: standardCluster(geometry, high, low) });
      }
    }
    if (zeroes.length === 0) return undefined;
    const added: ClusterRun[] = [];
    const expanded = new DataView(new ArrayBuffer(geometry.clusterSize));
    const bytes = new Uint8Array(expanded.buffer);
    bytes.set(new Uint8Array(l2.buffer, l2.byteOffset, l2.byteLength));
    const filled = zeroes.filter(({ cluster }) => cluster !== 0 || this.#hasBacking);
    const first = filled.length === 0 ? 0 : await this.#addZeroClusters(filled.length, added);
    let next = first;
    for (const { index, cluster } of zeroes) {
      const isFilled = cluster !== 0 || this.#hasBacking;
      const at = l2EntryAt(geometry, index);
      const hostOffset = isFilled ? next++ * geometry.clusterSize : undefined;
      writeStandardEntry(geometry, expanded, at, {
        hostOffset,
        copied: isFilled && !isShared,
        allocBits: 0,
        zeroBits: 0,
      });
    }
    const dropped = zeroes
      .filter(({ cluster }) => cluster !== 0)
      .map(({ cluster }) => ({ first: cluster, count: 1 }));
    return { offset: await this.#transaction.addTable(bytes), added, dropped };
  }

  async #addZeroClusters(count: number, added: ClusterRun[]): Promise<number> {
    const first = (await this.#transaction.addZeroClusters(count)) / this.#geometry.clusterSize;
    added.push({ first, count });
    return first;
  }
}

function zstdClusters(): Qcow2Error {
  return new Qcow2Error(
    "invalid-option",
    "Cannot downgrade an image with zstd compression type and existing compressed clusters",
    { option: "compat" },
  );
}
