/**
 * Entries of L1 and L2 tables that say what none may say. Each is changed where it is, in one sector, to an entry that
 * the guest reads the same through; where it could not be read at all, to none. An L2 table in whose place something
 * else is, too, gets a copy of its own, and so does guest data in the place of what cannot be moved.
 */
import { roundDown, roundUp } from "../../format/geometry.ts";
import { L1_ENTRY_BYTES, l1EntryOffset, setL1Entry } from "../../format/l1-entry.ts";
import {
  decodeCompressedDescriptor,
  encodeCompressedDescriptor,
  encodeStandardDescriptor,
  hasZeroFlag,
  isCompressed,
  l2EntryAt,
  standardOffset,
} from "../../format/l2-entry.ts";
import { viewOf } from "../../format/uint64.ts";
import { MAX_L1_BYTES } from "../../limits.ts";
import { readOrZeroes } from "../../storage/read-exactly.ts";
import { ClusterSet } from "../cluster-set.ts";
import type { ImageLayout, TableLocation } from "../image-layout.ts";
import type { ClusterUse } from "./cluster-uses.ts";
import { mendL2Entry } from "./mend-l2-entry.ts";
import type { RepairFile } from "./repair-file.ts";
import { surveySnapshots } from "./survey-snapshots.ts";

/** Bits 56-62 and 0-8 of an L1 entry, in their halves. */
const L1_RESERVED_HIGH = 0x7f000000;
const L1_RESERVED_LOW = 0x000001ff;
/** Guest data in a cluster of one of these moves; anything else there does. */
const UNMOVED: readonly ClusterUse[] = ["header", "fixed"];
/** Far below what a refcount of version 2 can count: snapshots may share the table that has the entries. */
const MAX_ZERO_CLUSTER_USERS = 1024;

/**
 * Mends the active tables and those of all snapshots, each of which has to be the only user of its L1 table's clusters.
 * Returns how many entries were changed.
 * @throws Qcow2Error "needs-repair", "io"; the signal's reason
 */
export async function mendTables(
  file: RepairFile,
  layout: ImageLayout,
  signal: AbortSignal | undefined,
): Promise<number> {
  const { entries } = await surveySnapshots(file.storage, layout);
  const mender = new TableMender(file, layout, signal);
  const seen = new Set<string>();
  for (const location of [layout.l1Table, ...entries.map((entry) => entry.location)]) {
    if (location === undefined || location.length === 0 || location.length > MAX_L1_BYTES) continue;
    const key = `${location.offset}:${location.length}`;
    if (seen.has(key)) continue;
    seen.add(key);
    await mender.mendTree(location);
  }
  if (mender.mended > 0) await file.flush();
  return mender.mended;
}

class TableMender {
  mended = 0;
  readonly #file: RepairFile;
  readonly #layout: ImageLayout;
  readonly #signal: AbortSignal | undefined;
  /** L2 tables that were looked at. */
  readonly #seen = new ClusterSet();
  /** Where L2 tables are now that moved, by where they were. */
  readonly #moved = new Map<number, number>();
  /** Where guest data was copied to, by where it is. */
  readonly #copies = new Map<string, number>();
  #zeroCluster: { readonly offset: number; users: number } | undefined;

  constructor(file: RepairFile, layout: ImageLayout, signal: AbortSignal | undefined) {
    this.#file = file;
    this.#layout = layout;
    this.#signal = signal;
  }

  async mendTree(location: TableLocation): Promise<void> {
    const { clusterSize } = this.#layout.geometry;
    // What is not in the file has no entries.
    const fileSize = await this.#file.storage.size();
    const present = Math.max(0, Math.min(location.length, fileSize - location.offset));
    const l1 = new Uint8Array(roundDown(present, L1_ENTRY_BYTES));
    await readOrZeroes(this.#file.storage, location.offset, l1);
    const before = l1.slice();
    const view = viewOf(l1);
    for (let index = 0; index < l1.length / L1_ENTRY_BYTES; index++) {
      this.#signal?.throwIfAborted();
      const at = index * L1_ENTRY_BYTES;
      if (view.getUint32(at) === 0 && view.getUint32(at + 4) === 0) continue;
      view.setUint32(at, (view.getUint32(at) & ~L1_RESERVED_HIGH) >>> 0);
      view.setUint32(at + 4, (view.getUint32(at + 4) & ~L1_RESERVED_LOW) >>> 0);
      const offset = l1EntryOffset(view, index);
      // A table behind the end of the file reads as empty; one that is not aligned cannot be read.
      if (offset === 0 || offset % clusterSize !== 0 || offset >= this.#file.originalSize) {
        view.setBigUint64(at, 0n);
        continue;
      }
      const cluster = offset / clusterSize;
      if (this.#seen.firstIn(cluster, cluster + 1) === undefined) {
        this.#seen.add(cluster);
        await this.#mendL2Table(offset);
      }
      const home = this.#moved.get(offset);
      if (home !== undefined) setL1Entry(view, index, { offset: home, copied: false });
    }
    const changed = changedEntries(before, l1, L1_ENTRY_BYTES);
    if (changed === 0) return;
    this.mended += changed;
    await this.#file.flush();
    await this.#file.change("l1-table", location.offset, { before, after: l1 });
  }

  async #mendL2Table(offset: number): Promise<void> {
    const { geometry } = this.#layout;
    const bytes = new Uint8Array(geometry.clusterSize);
    await readOrZeroes(this.#file.storage, offset, bytes);
    const before = bytes.slice();
    const view = viewOf(bytes);
    let hasCopied = false;
    for (let index = 0; index < geometry.l2Entries; index++) {
      const at = l2EntryAt(geometry, index);
      const state = mendL2Entry(view, at, this.#layout, this.#file.originalSize);
      if (state === "needs-cluster") await this.#pointAtZeroes(view, at);
      else if (!(await this.#moveGuestData(view, at))) continue;
      hasCopied = true;
    }
    const changed = changedEntries(before, bytes, geometry.l2EntryBytes);
    this.mended += changed;
    const isAlone = this.#file.isAlone("l2-table", { offset, length: geometry.clusterSize });
    if (hasCopied) await this.#file.flush();
    if (isAlone) await this.#file.change("l2-table", offset, { before, after: bytes });
    else this.#moved.set(offset, await this.#file.append(bytes));
  }

  /** Copies the data of an entry if it lies where something that stays is; returns whether it does. */
  async #moveGuestData(view: DataView, at: number): Promise<boolean> {
    const { geometry, hasDataFile } = this.#layout;
    const [high, low] = [view.getUint32(at), view.getUint32(at + 4)];
    if (hasDataFile || (high | low) === 0) return false;
    if (isCompressed(high)) {
      const place = decodeCompressedDescriptor(geometry, high, low);
      if (!this.#file.isUsedAs(UNMOVED, place)) return false;
      // Whole clusters, so that there are not more copies than clusters, however many entries lead to one.
      const within = place.offset % geometry.clusterSize;
      const length = roundUp(within + place.length, geometry.clusterSize);
      const start = await this.#copyOf({ offset: place.offset - within, length });
      const moved = encodeCompressedDescriptor(geometry, start + within, place.length);
      setHalves(view, at, moved);
      return true;
    }
    const offset = standardOffset(high, low);
    const place = { offset, length: geometry.clusterSize };
    if (offset === 0 || !this.#file.isUsedAs(UNMOVED, place)) return false;
    const zero = !geometry.extendedL2 && hasZeroFlag(low);
    setHalves(view, at, encodeStandardDescriptor({ offset: await this.#copyOf(place), copied: false, zero }));
    return true;
  }

  /** One copy of each place, however many entries lead there. */
  async #copyOf({ offset, length }: TableLocation): Promise<number> {
    const key = `${offset}:${length}`;
    let copy = this.#copies.get(key);
    if (copy === undefined) {
      const bytes = new Uint8Array(length);
      await readOrZeroes(this.#file.storage, offset, bytes);
      copy = await this.#file.append(bytes);
      this.#copies.set(key, copy);
    }
    return copy;
  }

  async #pointAtZeroes(view: DataView, at: number): Promise<void> {
    const { clusterSize } = this.#layout.geometry;
    if (this.#zeroCluster === undefined || this.#zeroCluster.users === MAX_ZERO_CLUSTER_USERS) {
      this.#zeroCluster = { offset: await this.#file.append(new Uint8Array(clusterSize)), users: 0 };
    }
    this.#zeroCluster.users++;
    const { offset } = this.#zeroCluster;
    setHalves(view, at, encodeStandardDescriptor({ offset, copied: false, zero: false }));
  }
}

function setHalves(
  view: DataView,
  at: number,
  { high, low }: { readonly high: number; readonly low: number },
): void {
  view.setUint32(at, high);
  view.setUint32(at + 4, low);
}

function changedEntries(before: Uint8Array, after: Uint8Array, entryBytes: number): number {
  let changed = 0;
  for (let at = 0; at < after.length; at += entryBytes) {
    if (after.subarray(at, at + entryBytes).some((byte, index) => byte !== before[at + index])) changed++;
  }
  return changed;
}
