/** Creating, applying and deleting internal snapshots (specification: "Snapshots"), each as one transaction. */
import { Qcow2Error, refuseOption } from "../../errors.ts";
import { L1_ENTRY_BYTES, l1EntryCopied, setL1Entry } from "../../format/l1-entry.ts";
import type { SnapshotEntry } from "../../format/snapshot-table.ts";
import { decodeStoredText, encodeText } from "../../format/stored-text.ts";
import { viewOf } from "../../format/uint64.ts";
import { MAX_SNAPSHOTS, MAX_VIRTUAL_SIZE } from "../../limits.ts";
import type { OpenImage } from "../open-image.ts";
import { l2TablesOf, setCopiedFlags } from "../transaction/l2-tables-of.ts";
import {
  type GiveBack,
  type HeaderChange,
  MetadataTransaction,
  type TransactionOptions,
} from "../transaction/metadata-transaction.ts";
import type { WriteContext } from "../write-context.ts";
import { findOnlySnapshot, findSnapshot, type SnapshotReference } from "./find-snapshot.ts";
import {
  dropTree,
  l1ForSize,
  readSnapshotL1,
  replaceSnapshotTable,
  shareTree,
  snapshotL1Location,
} from "./snapshot-tree.ts";

/** Bytes of a name or an id: 16-bit lengths. */
const MAX_STORED_TEXT_BYTES = 0xffff;

export interface CreateSnapshotOptions extends TransactionOptions {
  readonly name: string;
  /** Must not be taken. Default: one more than the largest number among the ids. */
  readonly id?: string | undefined;
  /** Default: now. */
  readonly date?: Date | undefined;
}

/**
 * Keeps what the disk holds now as a snapshot.
 * @throws Qcow2Error "unsupported" with an external data file, "invalid-option", "limit-exceeded", and what
 *   {@link MetadataTransaction.run} throws
 */
export async function createSnapshot(
  context: WriteContext,
  options: CreateSnapshotOptions,
): Promise<GiveBack> {
  const { image } = context;
  assertNoDataFile(image, "create a snapshot");
  if (image.snapshots.length >= MAX_SNAPSHOTS) {
    throw new Qcow2Error("limit-exceeded", `The image has ${MAX_SNAPSHOTS} snapshots; it cannot have more`, {
      what: "snapshots",
      found: image.snapshots.length + 1,
      maximum: MAX_SNAPSHOTS,
    });
  }
  const entry = newEntry(image, options);
  return await MetadataTransaction.run(
    context,
    async (transaction) => {
      const { l1 } = image.mapping;
      const shared = await shareTree(transaction, l1.bytes);
      const l1TableOffset = BigInt(await transaction.addTable(shared));
      const activeOffset = await transaction.addTable(shared);
      await transaction.dropTable({ offset: l1.offset, length: l1.bytes.length });
      return {
        l1Table: { offset: activeOffset, length: shared.length },
        snapshots: await replaceSnapshotTable(transaction, [...image.snapshots, { ...entry, l1TableOffset }]),
      };
    },
    options,
  );
}

/**
 * Makes the disk what it was when the snapshot was taken, its size included. What was written since is lost, unless
 * another snapshot keeps it.
 * @throws Qcow2Error "snapshot-not-found", "unsupported" with an external data file or with persistent bitmaps, which
 *   would not tell of the change, and what {@link MetadataTransaction.run} throws
 */
export async function applySnapshot(
  context: WriteContext,
  wanted: SnapshotReference,
  options: TransactionOptions = {},
): Promise<GiveBack> {
  const { image } = context;
  assertNoDataFile(image, "apply a snapshot");
  if (image.bitmaps.length > 0) {
    throw new Qcow2Error("unsupported", "Device has active dirty bitmaps", {
      operation: "apply a snapshot",
      obstacle: "bitmaps",
    });
  }
  const entry = findSnapshot(image.snapshots, wanted);
  return await MetadataTransaction.run(
    context,
    async (transaction): Promise<HeaderChange> => {
      const { l1 } = image.mapping;
      const virtualSize = diskSizeOf(image, entry);
      const kept = await readSnapshotL1(image, entry);
      // First, so that no cluster counts more users in between than before or afterwards.
      await dropTree(transaction, l1.bytes);
      const shared = await shareTree(transaction, kept);
      // Tables of the snapshot that were replaced are the snapshot's, too: its L1 table changes as the disk's does.
      const own = l1ForSize(transaction, shared, virtualSize);
      await transaction.dropTable({ offset: l1.offset, length: l1.bytes.length });
      const l1Table = { offset: await transaction.addTable(own), length: own.length };
      if (sameBytes(kept, shared)) return { virtualSize, l1Table };
      await transaction.dropTable(snapshotL1Location(entry));
      const l1TableOffset = BigInt(await transaction.addTable(shared));
      const entries = image.snapshots.map((other) => (other === entry ? { ...entry, l1TableOffset } : other));
      return { virtualSize, l1Table, snapshots: await replaceSnapshotTable(transaction, entries) };
    },
    options,
  );
}

/**
 * Deletes a snapshot; what only it used is free.
 * @throws Qcow2Error "snapshot-not-found", "ambiguous-snapshot", and what {@link MetadataTransaction.run} throws
 */
export async function deleteSnapshot(
  context: WriteContext,
  wanted: SnapshotReference,
  options: TransactionOptions = {},
): Promise<GiveBack> {
  const { image } = context;
  const entry = findOnlySnapshot(image.snapshots, wanted);
  return await MetadataTransaction.run(
    context,
    async (transaction) => {
      await dropTree(transaction, await readSnapshotL1(image, entry));
      await transaction.dropTable(snapshotL1Location(entry));
      const remaining = image.snapshots.filter((other) => other !== entry);
      const snapshots = await replaceSnapshotTable(transaction, remaining);
      return { ...(await ownWhatNobodyShares(transaction)), snapshots };
    },
    options,
  );
}

/** Marks as the active disk's own what only it uses now, so that it is written in place from now on. */
async function ownWhatNobodyShares(transaction: MetadataTransaction): Promise<HeaderChange> {
  const { image, refcounts } = transaction;
  const { geometry } = image.layout;
  const { l1 } = image.mapping;
  const own = l1.bytes.slice();
  let changed = false;
  for await (const { index, cluster, view } of l2TablesOf(image.storage, geometry, l1.view)) {
    transaction.throwIfAborted();
    if ((await refcounts.get(cluster)) !== 1) continue;
    let offset = cluster * geometry.clusterSize;
    if (await setCopiedFlags(geometry, view, refcounts)) {
      offset = await transaction.addTable(new Uint8Array(view.buffer, view.byteOffset, view.byteLength));
      await refcounts.change(cluster, 1, -1);
    } else if (l1EntryCopied(l1.view, index)) {
      continue;
    }
    setL1Entry(viewOf(own), index, { offset, copied: true });
    changed = true;
  }
  if (!changed) return {};
  await transaction.dropTable({ offset: l1.offset, length: own.length });
  return { l1Table: { offset: await transaction.addTable(own), length: own.length } };
}

function newEntry(image: OpenImage, { name, id, date = new Date() }: CreateSnapshotOptions): SnapshotEntry {
  const ids = image.snapshots.map((entry) => decodeStoredText(entry.idBytes));
  const chosen = id ?? nextId(ids);
  if (ids.includes(chosen)) {
    refuseOption("id", `The image has a snapshot with the id '${chosen}' already`);
  }
  const milliseconds = date.getTime();
  const seconds = Math.floor(milliseconds / 1000);
  if (!(seconds >= 0 && seconds <= 0xffffffff)) {
    refuseOption("date", "A snapshot's date lies between 1970 and 2106");
  }
  return {
    l1TableOffset: 0n,
    l1Size: image.mapping.l1.bytes.length / L1_ENTRY_BYTES,
    idBytes: storedText("id", chosen),
    nameBytes: storedText("name", name),
    dateSeconds: seconds,
    dateNanoseconds: (milliseconds - seconds * 1000) * 1_000_000,
    vmClockNanoseconds: 0n,
    vmStateSize: 0n,
    diskSize: BigInt(image.layout.virtualSize),
    // As QEMU does for a disk that no machine runs on.
    icount: 0n,
    unknownExtraData: new Uint8Array(0),
  };
}

/** One more than the largest id that is a number. */
function nextId(ids: readonly string[]): string {
  const numbers = ids.filter((id) => /^\d+$/.test(id)).map(BigInt);
  return String(numbers.reduce((largest, number) => (number > largest ? number : largest), 0n) + 1n);
}

function storedText(option: string, text: string): Uint8Array {
  const bytes = encodeText(text);
  if (bytes.length <= MAX_STORED_TEXT_BYTES) return bytes;
  refuseOption(option, `A snapshot's ${option} has at most ${MAX_STORED_TEXT_BYTES} bytes`, "name-too-long");
}

function diskSizeOf(image: OpenImage, { diskSize }: SnapshotEntry): number {
  if (diskSize === undefined) return image.layout.virtualSize;
  if (diskSize <= BigInt(MAX_VIRTUAL_SIZE)) return Number(diskSize);
  throw new Qcow2Error("unsafe-offset", `The snapshot's disk size ${diskSize} is beyond 2^53 - 1`, {
    structure: "snapshot table",
    found: diskSize,
  });
}

function assertNoDataFile({ layout }: OpenImage, operation: string): void {
  if (!layout.hasDataFile) return;
  throw new Qcow2Error("unsupported", `An image with an external data file cannot ${operation}`, {
    operation,
  });
}

function sameBytes(first: Uint8Array, second: Uint8Array): boolean {
  return first.length === second.length && first.every((byte, index) => byte === second[index]);
}
