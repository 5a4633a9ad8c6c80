/** A snapshot table of which something is broken: replaced by what can be read of it. */
import { Qcow2Error } from "../../errors.ts";
import { HEADER_SNAPSHOTS_AT } from "../../format/header.ts";
import { L1_ENTRY_BYTES } from "../../format/l1-entry.ts";
import { encodeSnapshotTable, type SnapshotEntry } from "../../format/snapshot-table.ts";
import { viewOf, writeUint64 } from "../../format/uint64.ts";
import { MAX_L1_BYTES, MAX_SNAPSHOTS } from "../../limits.ts";
import { readExactly } from "../../storage/read-exactly.ts";
import type { Storage } from "../../storage/storage.ts";
import type { ImageLayout } from "../image-layout.ts";
import { walkSnapshotTable } from "../read-snapshot-table.ts";

/** Bytes of nb_snapshots and snapshots_offset together. */
const FIELDS_BYTES = 12;

/**
 * Keeps the snapshots that can be read, up to the first entry that cannot; those whose L1 table is not in the file are
 * left out. The new table is written behind the end of the file, and the header switches to it. Returns 1 if the table
 * was replaced.
 */
export async function mendSnapshots(storage: Storage, layout: ImageLayout): Promise<number> {
  const { header, geometry } = layout;
  if (header.snapshotCount === 0) return 0;
  const { kept, isWhole } = await readable(storage, layout);
  if (isWhole) return 0;
  const { clusterSize } = geometry;
  const table = encodeSnapshotTable(kept);
  let offset = 0;
  if (table.length > 0) {
    offset = (Math.ceil((await storage.size()) / clusterSize) + 1) * clusterSize;
    const whole = new Uint8Array(Math.ceil(table.length / clusterSize) * clusterSize);
    whole.set(table);
    await storage.write(offset, whole);
    await storage.flush();
  }
  const fields = new Uint8Array(FIELDS_BYTES);
  await readExactly(storage, HEADER_SNAPSHOTS_AT, fields, "Header");
  viewOf(fields).setUint32(0, kept.length);
  writeUint64(viewOf(fields), 4, offset);
  await storage.write(HEADER_SNAPSHOTS_AT, fields);
  await storage.flush();
  return 1;
}

async function readable(
  storage: Storage,
  layout: ImageLayout,
): Promise<{ readonly kept: readonly SnapshotEntry[]; readonly isWhole: boolean }> {
  const { header, geometry, virtualSize } = layout;
  const kept: SnapshotEntry[] = [];
  let isWhole = true;
  const fileSize = await storage.size();
  if (header.snapshotCount > MAX_SNAPSHOTS || header.snapshotsOffset % BigInt(geometry.clusterSize) !== 0n) {
    return { kept, isWhole: false };
  }
  try {
    const entries = walkSnapshotTable(storage, header.snapshotsOffset, header.snapshotCount, "refuse");
    for await (const { entry } of entries) {
      if (!isUsable(entry, geometry.clusterSize, fileSize)) {
        isWhole = false;
        continue;
      }
      const isSized = entry.diskSize !== undefined || header.version < 3;
      isWhole &&= isSized;
      kept.push(isSized ? entry : { ...entry, diskSize: BigInt(virtualSize) });
    }
  } catch (error) {
    if (!(error instanceof Qcow2Error) || error.code === "io") throw error;
    isWhole = false;
  }
  return { kept, isWhole };
}

function isUsable({ l1TableOffset, l1Size }: SnapshotEntry, clusterSize: number, fileSize: number): boolean {
  const length = l1Size * L1_ENTRY_BYTES;
  if (l1TableOffset % BigInt(clusterSize) !== 0n || length > MAX_L1_BYTES) return false;
  return length === 0 || l1TableOffset + BigInt(length) <= BigInt(fileSize);
}
