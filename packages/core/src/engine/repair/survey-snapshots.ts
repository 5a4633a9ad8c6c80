/**
 * What a repair can make of a snapshot table: the entries that it has, put right where nothing is lost by it, and what is
 * in the way of keeping them.
 */
import { Qcow2Error } from "../../errors.ts";
import { l1EntriesFor } from "../../format/geometry.ts";
import { L1_ENTRY_BYTES } from "../../format/l1-entry.ts";
import {
  decodeSnapshotEntry,
  SNAPSHOT_ALIGNMENT,
  SNAPSHOT_FIXED_BYTES,
  type SnapshotEntry,
} from "../../format/snapshot-table.ts";
import { viewOf } from "../../format/uint64.ts";
import {
  MAX_L1_BYTES,
  MAX_SNAPSHOT_EXTRA_DATA_BYTES,
  MAX_SNAPSHOT_TABLE_BYTES,
  MAX_SNAPSHOTS,
} from "../../limits.ts";
import type { Storage } from "../../storage/storage.ts";
import type { ImageLayout, TableLocation } from "../image-layout.ts";
import { TableWindow } from "../read-snapshot-table.ts";

/** Bytes behind the last entry that have to be zero before a count that is too high is believed to be just that. */
const LOOKED_AT_BEHIND = 512;

export interface SurveyedSnapshot {
  /** As it is to be stored. */
  readonly entry: SnapshotEntry;
  /** Where its L1 table is, the part that is not in the file included; undefined if it cannot be read. */
  readonly location: TableLocation | undefined;
  /** Why its L1 table cannot be read. */
  readonly problem: string | undefined;
}

export interface SnapshotSurvey {
  readonly entries: readonly SurveyedSnapshot[];
  /** Why the rest of the table, or all of it, cannot be read. */
  readonly problem: string | undefined;
  /** Entries say what none may say, or the count is too high; nothing is lost by storing `entries` instead. */
  readonly needsRewriting: boolean;
  /**
   * Where the entries are, up to the last, or the first that cannot be read. Of extra data that is longer than any may be
   * only the beginning counts: it is not read, and its length is no claim to whatever else is there, or comes there.
   */
  readonly places: readonly TableLocation[];
}

/** @throws Qcow2Error "io" */
export async function surveySnapshots(storage: Storage, layout: ImageLayout): Promise<SnapshotSurvey> {
  const { header, geometry } = layout;
  const { snapshotCount, snapshotsOffset } = header;
  const entries: SurveyedSnapshot[] = [];
  let tableBytes = 0;
  let needsRewriting = false;
  let hasCutEntry = false;
  const places: TableLocation[] = [];
  const result = (problem?: string): SnapshotSurvey => ({ entries, problem, needsRewriting, places });
  if (snapshotCount === 0) return result();
  if (snapshotsOffset % BigInt(geometry.clusterSize) !== 0n) return result("its offset is not aligned");
  const fileSize = await storage.size();
  if (snapshotsOffset >= BigInt(fileSize)) return result("it lies behind the end of the file");
  const window = new TableWindow(storage, Number(snapshotsOffset), "zeroes");
  try {
    for (let index = 0; index < snapshotCount; index++) {
      const at = Math.ceil(tableBytes / SNAPSHOT_ALIGNMENT) * SNAPSHOT_ALIGNMENT;
      const fixed = (await window.bytesAt(at, SNAPSHOT_FIXED_BYTES)).slice();
      if (isZero(fixed)) {
        const isEnd = index > 0 && isZero(await window.bytesAt(at, LOOKED_AT_BEHIND));
        needsRewriting ||= isEnd;
        return result(isEnd ? undefined : `entry ${index} is empty`);
      }
      if (index >= MAX_SNAPSHOTS) return result(`it has more than ${MAX_SNAPSHOTS} entries`);
      const { bytes, namesAt, end } = await entryBytesAt(window, at, fixed);
      const isCut = bytes.length < end - at;
      const names = end - namesAt;
      const start = Number(snapshotsOffset);
      places.push({ offset: start + at, length: bytes.length - names });
      places.push({ offset: start + namesAt, length: names });
      hasCutEntry ||= isCut;
      const entry = decodeSnapshotEntry(bytes, 0);
      tableBytes = end;
      // Nobody makes such a name: a length is wrong, and behind it everything is. So may the file end within the table.
      if (entry.idBytes.includes(0) || entry.nameBytes.includes(0)) {
        return result(`entry ${index} has a name with zeroes in it`);
      }
      if (hasCutEntry && entry.idBytes.length === 0) {
        return result(`entry ${index} has no id, behind extra data that is too long`);
      }
      const isSized = entry.diskSize !== undefined || header.version < 3;
      if (!isSized && entry.l1Size < l1EntriesFor(geometry, layout.virtualSize)) {
        // With a size, it could not be read any more.
        const problem = "it has no size, and its L1 table is too small for that of the disk";
        entries.push({ ...surveyed(entry, layout, fileSize), problem });
        continue;
      }
      needsRewriting ||= isCut || !isSized;
      entries.push(
        surveyed(isSized ? entry : { ...entry, diskSize: BigInt(layout.virtualSize) }, layout, fileSize),
      );
    }
  } catch (error) {
    if (!(error instanceof Qcow2Error) || error.code === "io") throw error;
    return result(error.message);
  }
  return result();
}

/** The entry at `at`, with as much of its extra data as an entry may have, and where its names begin and end in the table. */
async function entryBytesAt(
  window: TableWindow,
  at: number,
  fixed: Uint8Array,
): Promise<{ readonly bytes: Uint8Array; readonly namesAt: number; readonly end: number }> {
  const view = viewOf(fixed);
  const extra = view.getUint32(36);
  const keptExtra = Math.min(extra, MAX_SNAPSHOT_EXTRA_DATA_BYTES);
  const namesLength = view.getUint16(12) + view.getUint16(14);
  const namesAt = at + SNAPSHOT_FIXED_BYTES + extra;
  if (namesAt + namesLength > MAX_SNAPSHOT_TABLE_BYTES) {
    throw new Qcow2Error("limit-exceeded", "Snapshot table is too big", {
      what: "snapshot table",
      found: namesAt + namesLength,
      maximum: MAX_SNAPSHOT_TABLE_BYTES,
    });
  }
  const bytes = new Uint8Array(SNAPSHOT_FIXED_BYTES + keptExtra + namesLength);
  bytes.set(fixed);
  viewOf(bytes).setUint32(36, keptExtra);
  bytes.set(await window.bytesAt(at + SNAPSHOT_FIXED_BYTES, keptExtra), SNAPSHOT_FIXED_BYTES);
  bytes.set(await window.bytesAt(namesAt, namesLength), SNAPSHOT_FIXED_BYTES + keptExtra);
  return { bytes, namesAt, end: namesAt + namesLength };
}

function surveyed(entry: SnapshotEntry, { geometry }: ImageLayout, fileSize: number): SurveyedSnapshot {
  const { l1TableOffset, l1Size } = entry;
  const location = { offset: Number(l1TableOffset), length: l1Size * L1_ENTRY_BYTES };
  const cannot = (problem: string): SurveyedSnapshot => ({ entry, location: undefined, problem });
  if (l1TableOffset % BigInt(geometry.clusterSize) !== 0n)
    return cannot("its L1 table is not cluster aligned");
  if (l1Size === 0) return { entry, location: undefined, problem: undefined };
  if (location.length > MAX_L1_BYTES) return cannot("its L1 table is too large");
  if (l1TableOffset >= BigInt(fileSize)) return cannot("its L1 table lies behind the end of the file");
  return { entry, location, problem: undefined };
}

function isZero(bytes: Uint8Array): boolean {
  return bytes.every((byte) => byte === 0);
}
