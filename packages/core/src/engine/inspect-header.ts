/** What an image is and whether it can be whole, at the price of two short reads: for looking at many images. */
import { isQcow2Error, Qcow2Error } from "../errors.ts";
import { L1_ENTRY_BYTES, l1EntryOffset } from "../format/l1-entry.ts";
import { SNAPSHOT_FIXED_BYTES } from "../format/snapshot-table.ts";
import { viewOf } from "../format/uint64.ts";
import { readExactly } from "../storage/read-exactly.ts";
import type { Storage } from "../storage/storage.ts";
import { describeLayout } from "./describe-image.ts";
import type { Qcow2HeaderInfo } from "./image-info.ts";
import { decodeImageLayout, type ImageLayout, readFirstCluster } from "./image-layout.ts";
import { assertBitmapsExtension, locateBitmapDirectory } from "./read-bitmap-directory.ts";

export interface HeaderInspection {
  /** Undefined if the header makes no sense, or asks for something that this library does not know. */
  readonly info: Qcow2HeaderInfo | undefined;
  /** What keeps the image from being opened, or from being read to its end; undefined if nothing was found. */
  readonly error: Qcow2Error | undefined;
}

/** Bytes of the L1 table that are looked at: enough for a disk of 4 TiB with the usual clusters. */
const MAX_INSPECTED_L1_BYTES = 65536;

/**
 * Reads the header and the first 64 KiB of the L1 table, and holds every table that they name against the file's size.
 * What is wrong is returned, not thrown; a file that was cut off is usually found so. Whether the tables agree with each
 * other is for the check to say.
 * @throws Qcow2Error "io"
 */
export async function inspectHeader(storage: Storage): Promise<HeaderInspection> {
  const bytes = await readFirstCluster(storage);
  const fileSize = await storage.size();
  try {
    const layout = decodeImageLayout(bytes, fileSize);
    return { info: headerInfo(layout), error: await findTableBeyondEnd(storage, layout, fileSize) };
  } catch (error) {
    if (!isQcow2Error(error) || isQcow2Error(error, "io")) throw error;
    return { info: tolerantInfo(bytes), error };
  }
}

function headerInfo(layout: ImageLayout): Qcow2HeaderInfo {
  return {
    ...describeLayout(layout),
    snapshotCount: layout.header.snapshotCount,
    bitmapCount: layout.bitmaps?.bitmapCount ?? 0,
  };
}

/** What the header says about an image whose tables may lie where there is nothing. */
function tolerantInfo(bytes: Uint8Array): Qcow2HeaderInfo | undefined {
  try {
    return headerInfo(decodeImageLayout(bytes, undefined));
  } catch (error) {
    if (isQcow2Error(error)) return undefined;
    throw error;
  }
}

async function findTableBeyondEnd(
  storage: Storage,
  layout: ImageLayout,
  fileSize: number,
): Promise<Qcow2Error | undefined> {
  const { clusterSize } = layout.geometry;
  if (layout.bitmaps !== undefined) {
    assertBitmapsExtension(layout.bitmaps, clusterSize);
    locateBitmapDirectory(layout.bitmaps, fileSize);
  }
  const snapshots = {
    offset: layout.snapshotsOffset,
    length: layout.header.snapshotCount * SNAPSHOT_FIXED_BYTES,
  };
  if (snapshots.length > 0 && snapshots.offset + snapshots.length > fileSize) {
    return beyondEnd("snapshot table", snapshots, fileSize);
  }
  const l1 = new Uint8Array(Math.min(layout.l1Table.length, MAX_INSPECTED_L1_BYTES));
  await readExactly(storage, layout.l1Table.offset, l1, "L1 table");
  const view = viewOf(l1);
  for (let index = 0; index < l1.length / L1_ENTRY_BYTES; index++) {
    const offset = l1EntryOffset(view, index);
    if (offset >= fileSize) return beyondEnd("L2 table", { offset, length: clusterSize }, fileSize);
  }
  return undefined;
}

function beyondEnd(
  structure: string,
  { offset, length }: { readonly offset: number; readonly length: number },
  fileSize: number,
): Qcow2Error<"truncated"> {
  const message = `The ${structure} at offset ${offset} lies beyond the end of the file (${fileSize} bytes)`;
  return new Qcow2Error("truncated", message, { structure, offset, length, fileSize });
}
