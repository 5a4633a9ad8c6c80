/** The snapshot table as far as a check needs it: where the snapshots' L1 tables are. */
import { isQcow2Error, Qcow2Error } from "../../errors.ts";
import { L1_ENTRY_BYTES } from "../../format/l1-entry.ts";
import type { SnapshotEntry } from "../../format/snapshot-table.ts";
import { decodeStoredText } from "../../format/stored-text.ts";
import { MAX_L1_BYTES, MAX_SNAPSHOTS } from "../../limits.ts";
import type { Storage } from "../../storage/storage.ts";
import type { ImageLayout } from "../image-layout.ts";
import { walkSnapshotTable } from "../read-snapshot-table.ts";
import type { L1Reference, TableExtent } from "./check-context.ts";
import { alternateHex, type CheckReport } from "./check-report.ts";

export interface CheckedSnapshots {
  readonly table: TableExtent;
  readonly l1Tables: readonly L1Reference[];
}

/**
 * Reads the snapshot table; undefined if it cannot be read. Then no further check makes sense, because everything
 * that only snapshots use would look leaked.
 */
export async function checkSnapshots(
  storage: Storage,
  { header, geometry, hasDataFile }: ImageLayout,
  { report, repairs }: { readonly report: CheckReport; readonly repairs: boolean },
): Promise<CheckedSnapshots | undefined> {
  const unreadable = (message: string, cause?: Qcow2Error): undefined => {
    report.add("error", "snapshot-table", () => ({
      message: `ERROR ${message}`,
      ...(isQcow2Error(cause, "io") && { cause }),
    }));
    return undefined;
  };
  if (header.snapshotCount > MAX_SNAPSHOTS) {
    return unreadable("snapshot table too large");
  }
  if (header.snapshotsOffset % BigInt(geometry.clusterSize) !== 0n) {
    return unreadable("Snapshot table offset invalid");
  }
  const tables = new Map<string, L1Reference>();
  let byteLength = 0;
  let index = -1;
  try {
    const entries = walkSnapshotTable(storage, header.snapshotsOffset, header.snapshotCount, "zeroes");
    for await (const { entry, end } of entries) {
      byteLength = end;
      index++;
      if (header.version >= 3 && entry.diskSize === undefined) {
        report.add("corruption", "snapshot-table", () => ({
          message: `${repairs ? "Repairing" : "ERROR"} snapshot table entry ${index} is incomplete`,
        }));
      }
      if (entry.l1Size === 0 && isAligned(entry, geometry.clusterSize)) continue;
      const problem = problemOf(entry, geometry.clusterSize);
      if (problem === undefined) addTable(tables, entry);
      else {
        report.add("corruption", "snapshot-table", () => ({
          message: `ERROR ${describe(entry)} ${problem}`,
        }));
      }
    }
  } catch (error) {
    if (error instanceof Qcow2Error) {
      return unreadable(`failed to read the snapshot table: ${error.message}`, error);
    }
    throw error;
  }
  if (hasDataFile && header.snapshotCount > 0) {
    report.add("corruption", "snapshot-table", () => ({
      message: `ERROR ${header.snapshotCount} snapshots in image with data file`,
    }));
  }
  const table = { offset: Number(header.snapshotsOffset), length: byteLength };
  return { table, l1Tables: [...tables.values()] };
}

/** Snapshots that share an L1 table count as several references to it, and it is walked once. */
function addTable(tables: Map<string, L1Reference>, entry: SnapshotEntry): void {
  const key = `${entry.l1TableOffset}:${entry.l1Size}`;
  tables.set(key, {
    offset: Number(entry.l1TableOffset),
    length: entry.l1Size * L1_ENTRY_BYTES,
    active: false,
    weight: (tables.get(key)?.weight ?? 0) + 1,
  });
}

function isAligned(entry: SnapshotEntry, clusterSize: number): boolean {
  return entry.l1TableOffset % BigInt(clusterSize) === 0n;
}

function problemOf(entry: SnapshotEntry, clusterSize: number): string | undefined {
  if (!isAligned(entry, clusterSize)) {
    const offset = alternateHex(entry.l1TableOffset);
    return `l1_offset=${offset}: L1 table is not cluster aligned; snapshot table entry corrupted`;
  }
  if (entry.l1Size * L1_ENTRY_BYTES <= MAX_L1_BYTES) return undefined;
  return `l1_size=${alternateHex(entry.l1Size)}: L1 table is too large; snapshot table entry corrupted`;
}

function describe(entry: SnapshotEntry): string {
  return `snapshot ${decodeStoredText(entry.idBytes)} (${decodeStoredText(entry.nameBytes)})`;
}
