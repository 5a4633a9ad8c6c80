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
import { type CheckReport, hex } from "./check-report.ts";

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
  report: CheckReport,
): Promise<CheckedSnapshots | undefined> {
  const unreadable = (message: string, cause?: Qcow2Error): undefined => {
    report.add("error", "snapshot-table", () => ({
      message: `Cannot read the snapshot table: ${message}`,
      ...(isQcow2Error(cause, "io") && { cause }),
    }));
    return undefined;
  };
  if (header.snapshotCount > MAX_SNAPSHOTS) {
    return unreadable(`${header.snapshotCount} snapshots are more than the ${MAX_SNAPSHOTS} allowed`);
  }
  if (header.snapshotsOffset % BigInt(geometry.clusterSize) !== 0n) {
    return unreadable(`its offset ${hex(header.snapshotsOffset)} is not cluster-aligned`);
  }
  const tables = new Map<string, L1Reference>();
  let byteLength = 0;
  try {
    const entries = walkSnapshotTable(storage, header.snapshotsOffset, header.snapshotCount, "zeroes");
    for await (const { entry, end } of entries) {
      byteLength = end;
      if (header.version >= 3 && entry.diskSize === undefined) {
        report.add("corruption", "snapshot-table", () => ({
          message: `${describe(entry)} does not record its disk size, which version 3 demands`,
        }));
      }
      if (entry.l1Size === 0 && isAligned(entry, geometry.clusterSize)) continue;
      const problem = problemOf(entry, geometry.clusterSize);
      if (problem === undefined) addTable(tables, entry);
      else report.add("corruption", "snapshot-table", () => ({ message: `${describe(entry)} ${problem}` }));
    }
  } catch (error) {
    if (error instanceof Qcow2Error) return unreadable(error.message, error);
    throw error;
  }
  if (hasDataFile && header.snapshotCount > 0) {
    report.add("corruption", "snapshot-table", () => ({
      message: `The image has ${header.snapshotCount} snapshots, which an image with a data file cannot have`,
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
    return `has its L1 table at ${hex(entry.l1TableOffset)}, which is not cluster-aligned`;
  }
  if (entry.l1Size * L1_ENTRY_BYTES > MAX_L1_BYTES) return `has an L1 table of ${entry.l1Size} entries`;
  return undefined;
}

function describe(entry: SnapshotEntry): string {
  return `Snapshot '${decodeStoredText(entry.idBytes)}' (${decodeStoredText(entry.nameBytes)})`;
}
