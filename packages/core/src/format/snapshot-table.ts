/** The snapshot table (specification: "Snapshots"): entries of variable length, each aligned to 8 bytes. */
import { Qcow2Error } from "../errors.ts";
import { MAX_SNAPSHOT_EXTRA_DATA_BYTES, MAX_SNAPSHOT_TABLE_BYTES } from "../limits.ts";
import { viewOf } from "./uint64.ts";

/** The part of an entry that every snapshot has. */
export const SNAPSHOT_FIXED_BYTES = 40;
/** Entries begin at multiples of this, counted from the start of the table. */
export const SNAPSHOT_ALIGNMENT = 8;
/** Extra data that this library understands: VM state size, disk size, instruction count. */
const KNOWN_EXTRA_DATA_BYTES = 24;
/** An instruction count that was not recorded. */
const NO_ICOUNT = 0xffffffffffffffffn;

/** One snapshot as stored. Raw 64-bit fields are bigint: they are checked by whoever uses them. */
export interface SnapshotEntry {
  /** Byte offset of the snapshot's L1 table in the image file. */
  readonly l1TableOffset: bigint;
  /** Entries, not bytes. */
  readonly l1Size: number;
  /** The id as stored (no terminator); kept as bytes because nothing says that it is valid UTF-8. */
  readonly idBytes: Uint8Array;
  readonly nameBytes: Uint8Array;
  /** Seconds since 1970-01-01 UTC, 32 bits. */
  readonly dateSeconds: number;
  readonly dateNanoseconds: number;
  readonly vmClockNanoseconds: bigint;
  /** Bytes of VM state: from the 64-bit field where the entry has it, else from the 32-bit one. */
  readonly vmStateSize: bigint;
  /** Bytes of the disk when the snapshot was taken; undefined if the entry is too old to say. */
  readonly diskSize: bigint | undefined;
  /** undefined if the entry has no such field, or says that it was not recorded. */
  readonly icount: bigint | undefined;
  /** Extra data beyond the fields above; kept when the table is rewritten. */
  readonly unknownExtraData: Uint8Array;
}

/** Length in bytes, without padding, of the entry that starts at `at`; its fixed part must lie within `bytes`. */
export function snapshotEntryBytes(bytes: Uint8Array, at: number): number {
  const view = viewOf(bytes);
  return SNAPSHOT_FIXED_BYTES + view.getUint32(at + 36) + view.getUint16(at + 12) + view.getUint16(at + 14);
}

/** Decodes the entry at `at`; all of its {@link snapshotEntryBytes} must lie within `bytes`. */
export function decodeSnapshotEntry(bytes: Uint8Array, at: number): SnapshotEntry {
  const view = viewOf(bytes);
  const extraStart = at + SNAPSHOT_FIXED_BYTES;
  const extraSize = view.getUint32(at + 36);
  const idStart = extraStart + extraSize;
  const nameStart = idStart + view.getUint16(at + 12);
  const icount = extraSize >= KNOWN_EXTRA_DATA_BYTES ? view.getBigUint64(extraStart + 16) : NO_ICOUNT;
  return {
    l1TableOffset: view.getBigUint64(at),
    l1Size: view.getUint32(at + 8),
    idBytes: bytes.slice(idStart, nameStart),
    nameBytes: bytes.slice(nameStart, nameStart + view.getUint16(at + 14)),
    dateSeconds: view.getUint32(at + 16),
    dateNanoseconds: view.getUint32(at + 20),
    vmClockNanoseconds: view.getBigUint64(at + 24),
    vmStateSize: extraSize >= 8 ? view.getBigUint64(extraStart) : BigInt(view.getUint32(at + 32)),
    diskSize: extraSize >= 16 ? view.getBigUint64(extraStart + 8) : undefined,
    icount: icount === NO_ICOUNT ? undefined : icount,
    unknownExtraData: bytes.slice(Math.min(extraStart + KNOWN_EXTRA_DATA_BYTES, idStart), idStart),
  };
}

/**
 * Decodes `count` entries from the start of `bytes`, which may be longer than the table.
 * @throws Qcow2Error "truncated" if the entries do not fit, "limit-exceeded" as {@link assertSnapshotLimits} does.
 */
export function decodeSnapshotTable(bytes: Uint8Array, count: number): SnapshotEntry[] {
  const entries: SnapshotEntry[] = [];
  let end = 0;
  for (let index = 0; index < count; index++) {
    const at = Math.ceil(end / SNAPSHOT_ALIGNMENT) * SNAPSHOT_ALIGNMENT;
    requireTableBytes(bytes, at + SNAPSHOT_FIXED_BYTES);
    end = at + snapshotEntryBytes(bytes, at);
    assertSnapshotLimits({ index, extraDataSize: viewOf(bytes).getUint32(at + 36), tableEnd: end });
    requireTableBytes(bytes, end);
    entries.push(decodeSnapshotEntry(bytes, at));
  }
  return entries;
}

/**
 * Encodes the table; the result ends with the last entry's name, without padding. Entries that know their disk
 * size are written with all fields that this library understands, as the specification demands of version 3.
 */
export function encodeSnapshotTable(entries: readonly SnapshotEntry[]): Uint8Array {
  const starts: number[] = [];
  let end = 0;
  for (const entry of entries) {
    const at = Math.ceil(end / SNAPSHOT_ALIGNMENT) * SNAPSHOT_ALIGNMENT;
    starts.push(at);
    end = at + SNAPSHOT_FIXED_BYTES + extraDataBytes(entry) + entry.idBytes.length + entry.nameBytes.length;
  }
  const bytes = new Uint8Array(end);
  entries.forEach((entry, index) => {
    encodeSnapshotEntry(entry, bytes.subarray(starts[index]!));
  });
  return bytes;
}

/**
 * Holds one entry, and the table up to its end, against the limits.
 * @throws Qcow2Error "limit-exceeded"
 */
export function assertSnapshotLimits(entry: {
  readonly index: number;
  readonly extraDataSize: number;
  /** Bytes from the start of the table to the end of this entry. */
  readonly tableEnd: number;
}): void {
  if (entry.extraDataSize > MAX_SNAPSHOT_EXTRA_DATA_BYTES) {
    throw new Qcow2Error("limit-exceeded", `Too much extra metadata in snapshot table entry ${entry.index}`, {
      what: "snapshot extra data",
      found: entry.extraDataSize,
      maximum: MAX_SNAPSHOT_EXTRA_DATA_BYTES,
    });
  }
  if (entry.tableEnd > MAX_SNAPSHOT_TABLE_BYTES) {
    throw new Qcow2Error("limit-exceeded", "Snapshot table is too big", {
      what: "snapshot table",
      found: entry.tableEnd,
      maximum: MAX_SNAPSHOT_TABLE_BYTES,
    });
  }
}

function extraDataBytes(entry: SnapshotEntry): number {
  if (entry.icount === undefined && entry.diskSize === undefined && entry.unknownExtraData.length === 0) {
    return 8;
  }
  return KNOWN_EXTRA_DATA_BYTES + entry.unknownExtraData.length;
}

function encodeSnapshotEntry(entry: SnapshotEntry, into: Uint8Array): void {
  const view = viewOf(into);
  const extraSize = extraDataBytes(entry);
  const idStart = SNAPSHOT_FIXED_BYTES + extraSize;
  view.setBigUint64(0, entry.l1TableOffset);
  view.setUint32(8, entry.l1Size);
  view.setUint16(12, entry.idBytes.length);
  view.setUint16(14, entry.nameBytes.length);
  view.setUint32(16, entry.dateSeconds);
  view.setUint32(20, entry.dateNanoseconds);
  view.setBigUint64(24, entry.vmClockNanoseconds);
  // A size that does not fit is written as "no VM state": a reader that knows only this field must not cut it short.
  view.setUint32(32, entry.vmStateSize <= 0xffffffffn ? Number(entry.vmStateSize) : 0);
  view.setUint32(36, extraSize);
  view.setBigUint64(40, entry.vmStateSize);
  if (extraSize > 8) {
    view.setBigUint64(48, entry.diskSize ?? 0n);
    view.setBigUint64(56, entry.icount ?? NO_ICOUNT);
    into.set(entry.unknownExtraData, SNAPSHOT_FIXED_BYTES + KNOWN_EXTRA_DATA_BYTES);
  }
  into.set(entry.idBytes, idStart);
  into.set(entry.nameBytes, idStart + entry.idBytes.length);
}

function requireTableBytes(bytes: Uint8Array, length: number): void {
  if (bytes.length >= length) return;
  throw new Qcow2Error(
    "truncated",
    `The snapshot table is truncated: it needs ${length} bytes and has ${bytes.length}`,
    { structure: "snapshot table", offset: 0, length, fileSize: bytes.length },
  );
}
