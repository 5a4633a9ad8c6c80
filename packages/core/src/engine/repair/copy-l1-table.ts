import { L1_ENTRY_BYTES } from "../../format/l1-entry.ts";
import { readOrZeroes } from "../../storage/read-exactly.ts";
import type { TableLocation } from "../image-layout.ts";
import type { RepairFile } from "./repair-file.ts";

/**
 * Writes an L1 table to a place of its own. What of it is not in the file reads as zeroes; empty entries at its end, of
 * which `needed` say something about the disk, are left out, so that a length that is wrong takes no space.
 */
export async function copyL1Table(
  file: RepairFile,
  { offset, length }: TableLocation,
  needed: number,
): Promise<{ readonly offset: number; readonly entries: number }> {
  const present = Math.max(0, Math.min(length, file.originalSize - offset));
  const found = new Uint8Array(Math.ceil(present / L1_ENTRY_BYTES) * L1_ENTRY_BYTES);
  await readOrZeroes(file.storage, offset, found);
  let used = found.length / L1_ENTRY_BYTES;
  while (used > 0 && isEmpty(found, used - 1)) used--;
  const entries = Math.max(1, used, Math.min(needed, length / L1_ENTRY_BYTES));
  const table = new Uint8Array(entries * L1_ENTRY_BYTES);
  table.set(found.subarray(0, used * L1_ENTRY_BYTES));
  return { offset: await file.append(table), entries };
}

function isEmpty(table: Uint8Array, index: number): boolean {
  return table.subarray(index * L1_ENTRY_BYTES, (index + 1) * L1_ENTRY_BYTES).every((byte) => byte === 0);
}
