/** Persistent bitmaps of which something is broken: what they say cannot be believed, and they are left out. */
import { Qcow2Error } from "../../errors.ts";
import {
  assertBitmapEntry,
  type BitmapDirectoryEntry,
  decodeBitmapDirectory,
  encodeBitmapDirectory,
} from "../../format/bitmap-directory.ts";
import { BITMAP_TABLE_ENTRY_BYTES, bitmapTableEntry } from "../../format/bitmap-table-entry.ts";
import type { BitmapsExtension } from "../../format/header-extensions.ts";
import { viewOf } from "../../format/uint64.ts";
import { readExactly } from "../../storage/read-exactly.ts";
import type { Storage } from "../../storage/storage.ts";
import { changeFirstCluster } from "../header/change-first-cluster.ts";
import { writeFirstCluster } from "../header/write-first-cluster.ts";
import { type ImageLayout, readFirstCluster } from "../image-layout.ts";
import { assertBitmapsExtension } from "../read-bitmap-directory.ts";

/**
 * Keeps the bitmaps that can be read; the header switches to a directory of those, or to none. Returns how many were left
 * out, at least 1 for a directory that cannot be read.
 */
export async function mendBitmaps(storage: Storage, layout: ImageLayout): Promise<number> {
  const { bitmaps, geometry } = layout;
  if (bitmaps === undefined) return 0;
  const all = await readDirectory(storage, layout, bitmaps);
  const kept: BitmapDirectoryEntry[] = [];
  for (const entry of all ?? []) if (await isReadable(storage, layout, entry)) kept.push(entry);
  if (all !== undefined && kept.length === all.length) return 0;
  let extension: BitmapsExtension | null = null;
  if (kept.length > 0) {
    const directory = encodeBitmapDirectory(kept);
    const { clusterSize } = geometry;
    const offset = (Math.ceil((await storage.size()) / clusterSize) + 1) * clusterSize;
    const whole = new Uint8Array(Math.ceil(directory.length / clusterSize) * clusterSize);
    whole.set(directory);
    await storage.write(offset, whole);
    await storage.flush();
    extension = {
      bitmapCount: kept.length,
      directorySize: BigInt(directory.length),
      directoryOffset: BigInt(offset),
    };
  }
  const replacement = changeFirstCluster(await readFirstCluster(storage), {
    refcountBits: geometry.refcountBits,
    bitmaps: extension,
  });
  await writeFirstCluster(storage, replacement);
  return Math.max(1, (all?.length ?? 0) - kept.length);
}

/** Undefined if the directory cannot be read. */
async function readDirectory(
  storage: Storage,
  { geometry }: ImageLayout,
  extension: BitmapsExtension,
): Promise<BitmapDirectoryEntry[] | undefined> {
  try {
    assertBitmapsExtension(extension, geometry.clusterSize);
    const bytes = new Uint8Array(Number(extension.directorySize));
    await readExactly(storage, Number(extension.directoryOffset), bytes, "The bitmap directory");
    return decodeBitmapDirectory(bytes, extension.bitmapCount);
  } catch (error) {
    if (!(error instanceof Qcow2Error) || error.code === "io") throw error;
    return undefined;
  }
}

async function isReadable(
  storage: Storage,
  { geometry, virtualSize }: ImageLayout,
  entry: BitmapDirectoryEntry,
): Promise<boolean> {
  const { clusterSize } = geometry;
  try {
    assertBitmapEntry(entry, { clusterSize, virtualSize });
    const fileSize = await storage.size();
    const table = new Uint8Array(entry.tableSize * BITMAP_TABLE_ENTRY_BYTES);
    await readExactly(storage, Number(entry.tableOffset), table, "Bitmap table");
    for (let at = 0; at < table.length; at += BITMAP_TABLE_ENTRY_BYTES) {
      const { isValid, offset } = bitmapTableEntry(viewOf(table), at, clusterSize);
      if (!isValid || offset >= fileSize) return false;
    }
    return true;
  } catch (error) {
    if (!(error instanceof Qcow2Error) || error.code === "io") throw error;
    return false;
  }
}
