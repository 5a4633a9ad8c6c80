import { Qcow2Error } from "../errors.ts";
import {
  assertSnapshotLimits,
  decodeSnapshotEntry,
  SNAPSHOT_ALIGNMENT,
  SNAPSHOT_FIXED_BYTES,
  type SnapshotEntry,
  snapshotEntryBytes,
} from "../format/snapshot-table.ts";
import { decodeStoredText } from "../format/stored-text.ts";
import { viewOf } from "../format/uint64.ts";
import { MAX_SNAPSHOTS } from "../limits.ts";
import { assertPosition } from "../storage/read-exactly.ts";
import type { Storage } from "../storage/storage.ts";
import type { SnapshotInfo } from "./image-info.ts";

/** Bytes that one read brings; a single entry has at most 132,134. */
const PIECE_BYTES = 256 * 1024;

export interface SnapshotTable {
  readonly entries: readonly SnapshotEntry[];
  /** Bytes from the start of the table to the end of the last entry. */
  readonly byteLength: number;
}

/**
 * Reads the snapshot table at byte `offset` (specification: "Snapshots"). Its length is only known by walking it,
 * so it is read in pieces and nothing is allocated by what the header claims.
 * @throws Qcow2Error "truncated", "limit-exceeded", "unsafe-offset"
 */
export async function readSnapshotTable(
  storage: Storage,
  offset: bigint | number,
  count: number,
): Promise<SnapshotTable> {
  const entries: SnapshotEntry[] = [];
  let byteLength = 0;
  for await (const { entry, end } of walkSnapshotTable(storage, offset, count, "refuse")) {
    entries.push(entry);
    byteLength = end;
  }
  return { entries, byteLength };
}

/**
 * The entries of the table one by one, each with the bytes from the start of the table to its end. `beyondEnd`
 * says what to do where the file ends before the table does: an image is not opened on such a table, while a check
 * reads zeroes there, as QEMU does, and goes on.
 * @throws Qcow2Error "truncated", "limit-exceeded", "unsafe-offset"
 */
export async function* walkSnapshotTable(
  storage: Storage,
  offset: bigint | number,
  count: number,
  beyondEnd: "refuse" | "zeroes",
): AsyncGenerator<{ readonly entry: SnapshotEntry; readonly end: number }> {
  if (count === 0) return;
  const start = checkedTableOffset(offset, count);
  const window = new TableWindow(storage, start, beyondEnd);
  let end = 0;
  for (let index = 0; index < count; index++) {
    const at = Math.ceil(end / SNAPSHOT_ALIGNMENT) * SNAPSHOT_ALIGNMENT;
    const fixed = await window.bytesAt(at, SNAPSHOT_FIXED_BYTES);
    const entryBytes = snapshotEntryBytes(fixed, 0);
    end = at + entryBytes;
    assertSnapshotLimits({ index, extraDataSize: viewOf(fixed).getUint32(36), tableEnd: end });
    yield { entry: decodeSnapshotEntry(await window.bytesAt(at, entryBytes), 0), end };
  }
}

/** The public view of an entry; `virtualSize` (bytes) stands in where an old entry has no disk size. */
export function snapshotInfo(entry: SnapshotEntry, virtualSize: number): SnapshotInfo {
  return {
    id: decodeStoredText(entry.idBytes),
    name: decodeStoredText(entry.nameBytes),
    vmStateSize: Number(entry.vmStateSize),
    dateSeconds: entry.dateSeconds,
    dateNanoseconds: entry.dateNanoseconds,
    vmClockNanoseconds: entry.vmClockNanoseconds,
    icount: entry.icount,
    diskSize: entry.diskSize === undefined ? virtualSize : Number(entry.diskSize),
  };
}

function checkedTableOffset(offset: bigint | number, count: number): number {
  if (count > MAX_SNAPSHOTS) {
    throw new Qcow2Error("limit-exceeded", "Snapshot table too large", {
      what: "snapshots",
      found: count,
      maximum: MAX_SNAPSHOTS,
    });
  }
  const start = Number(offset);
  if (!Number.isSafeInteger(start)) {
    throw new Qcow2Error("unsafe-offset", `Snapshot table offset ${offset} is beyond 2^53 - 1`, {
      structure: "snapshot table",
      found: BigInt(offset),
    });
  }
  return start;
}

/** A forward-moving window over the table. */
export class TableWindow {
  readonly #storage: Storage;
  readonly #start: number;
  readonly #beyondEnd: "refuse" | "zeroes";
  readonly #buffer = new Uint8Array(PIECE_BYTES);
  /** Table-relative position and number of the valid bytes in the buffer. */
  #at = 0;
  #length = 0;

  constructor(storage: Storage, start: number, beyondEnd: "refuse" | "zeroes") {
    this.#storage = storage;
    this.#start = start;
    this.#beyondEnd = beyondEnd;
  }

  /** `length` bytes (at most a piece) at table-relative position `at`; valid until the next call. */
  async bytesAt(at: number, length: number): Promise<Uint8Array> {
    if (at < this.#at || at + length > this.#at + this.#length) {
      assertPosition(this.#start + at, this.#buffer.length, "Snapshot table");
      this.#length = await this.#storage.read(this.#start + at, this.#buffer);
      this.#at = at;
      if (this.#beyondEnd === "zeroes") {
        this.#buffer.fill(0, this.#length);
        this.#length = this.#buffer.length;
      }
    }
    if (this.#length < at - this.#at + length) {
      const fileSize = await this.#storage.size();
      throw new Qcow2Error(
        "truncated",
        `The snapshot table at offset ${this.#start} lies beyond the end of the file (${fileSize} bytes)`,
        { structure: "snapshot table", offset: this.#start + at, length, fileSize },
      );
    }
    return this.#buffer.subarray(at - this.#at, at - this.#at + length);
  }
}
