/** Persistent bitmaps that cannot be read are left out if that is asked for; a directory that is in the way moves. */
import { Qcow2Error } from "../../errors.ts";
import {
  assertBitmapEntry,
  type BitmapDirectoryEntry,
  decodeBitmapDirectory,
  encodeBitmapDirectory,
} from "../../format/bitmap-directory.ts";
import { BITMAP_TABLE_ENTRY_BYTES, bitmapTableEntry } from "../../format/bitmap-table-entry.ts";
import type { BitmapsExtension } from "../../format/header-extensions.ts";
import { decodeStoredText } from "../../format/stored-text.ts";
import { viewOf } from "../../format/uint64.ts";
import { readExactly } from "../../storage/read-exactly.ts";
import type { Storage } from "../../storage/storage.ts";
import { changeFirstCluster } from "../header/change-first-cluster.ts";
import { prepareFirstCluster } from "../header/write-first-cluster.ts";
import { type ImageLayout, readFirstCluster } from "../image-layout.ts";
import { assertBitmapsExtension, locateBitmapDirectory } from "../read-bitmap-directory.ts";
import type { RepairFile } from "./repair-file.ts";
import type { Irreparable, RepairOptions } from "./repair-options.ts";

/** Bytes of a bitmap table that are looked at together. */
const PIECE_BYTES: number = 2 ** 20;

export interface BitmapSurvey {
  /** Bitmaps that can be read. */
  readonly kept: readonly BitmapDirectoryEntry[];
  readonly irreparable: readonly Irreparable[];
}

/** @throws Qcow2Error "io" */
export async function surveyBitmaps(storage: Storage, layout: ImageLayout): Promise<BitmapSurvey> {
  const { bitmaps, geometry } = layout;
  if (bitmaps === undefined) return { kept: [], irreparable: [] };
  const kept: BitmapDirectoryEntry[] = [];
  const irreparable: Irreparable[] = [];
  const names = new Set<string>();
  try {
    assertBitmapsExtension(bitmaps, geometry.clusterSize);
    const { offset, length } = locateBitmapDirectory(bitmaps, await storage.size());
    const bytes = new Uint8Array(length);
    await readExactly(storage, offset, bytes, "The bitmap directory");
    for (const entry of decodeBitmapDirectory(bytes, bitmaps.bitmapCount)) {
      const name = decodeStoredText(entry.nameBytes);
      const reason = names.has(name)
        ? "another bitmap has its name"
        : await problemOf(storage, layout, entry);
      names.add(name);
      if (reason === undefined) kept.push(entry);
      else irreparable.push({ kind: "bitmap", name, reason });
    }
  } catch (error) {
    if (!(error instanceof Qcow2Error) || error.code === "io") throw error;
    irreparable.push({ kind: "bitmap-directory", reason: error.message });
  }
  return { kept, irreparable };
}

export interface MendedBitmaps {
  readonly mended: number;
  readonly left: readonly Irreparable[];
  readonly discarded: readonly Irreparable[];
}

/**
 * Keeps all bitmaps, in a new place for their directory if something else is in the old one, too; with `discardBitmaps`
 * those that can be read.
 */
export async function mendBitmaps(
  file: RepairFile,
  layout: ImageLayout,
  { discardBitmaps = false }: Pick<RepairOptions, "discardBitmaps">,
): Promise<MendedBitmaps> {
  const { bitmaps } = layout;
  if (bitmaps === undefined) return { mended: 0, left: [], discarded: [] };
  const { kept, irreparable } = await surveyBitmaps(file.storage, layout);
  if (irreparable.length > 0) {
    if (!discardBitmaps) return { mended: 0, left: irreparable, discarded: [] };
    await storeDirectory(file, layout, kept);
    return { mended: irreparable.length, left: [], discarded: irreparable };
  }
  const directory = { offset: Number(bitmaps.directoryOffset), length: Number(bitmaps.directorySize) };
  if (file.isAlone("directory", directory)) return { mended: 0, left: [], discarded: [] };
  await storeDirectory(file, layout, kept);
  return { mended: 1, left: [], discarded: [] };
}

/** Writes a directory where nothing is, and has the header switch to it; to none if there is no bitmap. */
async function storeDirectory(
  file: RepairFile,
  { geometry }: ImageLayout,
  entries: readonly BitmapDirectoryEntry[],
): Promise<void> {
  let extension: BitmapsExtension | null = null;
  if (entries.length > 0) {
    const directory = encodeBitmapDirectory(entries);
    extension = {
      bitmapCount: entries.length,
      directorySize: BigInt(directory.length),
      directoryOffset: BigInt(await file.append(directory)),
    };
    await file.flush();
  }
  const replacement = changeFirstCluster(await readFirstCluster(file.storage), {
    refcountBits: geometry.refcountBits,
    bitmaps: extension,
  });
  await prepareFirstCluster(
    (offset, bytes) => file.writeHeader(offset, bytes),
    () => file.flush(),
    replacement,
  );
  await file.writeHeader(0, replacement.sector);
  await file.flush();
}

async function problemOf(
  storage: Storage,
  { geometry, virtualSize }: ImageLayout,
  entry: BitmapDirectoryEntry,
): Promise<string | undefined> {
  const { clusterSize } = geometry;
  try {
    assertBitmapEntry(entry, { clusterSize, virtualSize });
  } catch (error) {
    if (!(error instanceof Qcow2Error)) throw error;
    return error.message;
  }
  const fileSize = await storage.size();
  const length = entry.tableSize * BITMAP_TABLE_ENTRY_BYTES;
  if (entry.tableOffset + BigInt(length) > BigInt(fileSize))
    return "its table lies behind the end of the file";
  for (let at = 0; at < length; at += PIECE_BYTES) {
    const table = new Uint8Array(Math.min(PIECE_BYTES, length - at));
    await readExactly(storage, Number(entry.tableOffset) + at, table, "Bitmap table");
    for (let index = 0; index < table.length; index += BITMAP_TABLE_ENTRY_BYTES) {
      const { isValid, offset } = bitmapTableEntry(viewOf(table), index, clusterSize);
      if (!isValid) return "an entry of its table is not aligned, or has reserved bits set";
      if (offset >= fileSize) return "its data lies behind the end of the file";
    }
  }
  return undefined;
}
