import { Qcow2Error } from "../errors.ts";
import {
  assertBitmapEntry,
  BITMAP_FLAG_AUTO,
  BITMAP_FLAG_IN_USE,
  type BitmapDirectoryEntry,
  decodeBitmapDirectory,
} from "../format/bitmap-directory.ts";
import type { BitmapsExtension } from "../format/header-extensions.ts";
import { decodeStoredText } from "../format/stored-text.ts";
import { MAX_BITMAP_DIRECTORY_BYTES, MAX_BITMAPS } from "../limits.ts";
import { readExactly } from "../storage/read-exactly.ts";
import type { Storage } from "../storage/storage.ts";
import type { BitmapInfo } from "./image-info.ts";
import type { TableLocation } from "./image-layout.ts";

/**
 * Reads and checks the directory that the bitmaps extension points at (specification: "Bitmap directory").
 * @throws Qcow2Error "truncated", "limit-exceeded", "invalid-image", "unsafe-offset"
 */
export async function readBitmapDirectory(
  storage: Storage,
  extension: BitmapsExtension,
  disk: { readonly clusterSize: number; readonly virtualSize: number },
): Promise<BitmapDirectoryEntry[]> {
  assertBitmapsExtension(extension, disk.clusterSize);
  const { offset, length } = locateBitmapDirectory(extension, await storage.size());
  const bytes = new Uint8Array(length);
  await readExactly(storage, offset, bytes, "The bitmap directory");
  const entries = decodeBitmapDirectory(bytes, extension.bitmapCount);
  const names = new Set<string>();
  for (const entry of entries) {
    assertBitmapEntry(entry, disk);
    const name = decodeStoredText(entry.nameBytes);
    if (names.has(name)) {
      throw new Qcow2Error("invalid-image", `Bitmap already exists: ${name}`, {
        structure: "bitmap directory",
        found: name,
      });
    }
    names.add(name);
  }
  return entries;
}

/** Where the directory lies, in bytes. @throws Qcow2Error "truncated" if it does not lie within the file */
export function locateBitmapDirectory(extension: BitmapsExtension, fileSize: number): TableLocation {
  const offset = Number(extension.directoryOffset);
  const length = Number(extension.directorySize);
  if (offset + length <= fileSize) return { offset, length };
  throw new Qcow2Error(
    "truncated",
    `The bitmap directory (${length} bytes at offset ${offset}) lies beyond the end of the file (${fileSize} bytes)`,
    { structure: "bitmap directory", offset, length, fileSize },
  );
}

/** The public view of an entry. */
export function bitmapInfo(entry: BitmapDirectoryEntry): BitmapInfo {
  return {
    name: decodeStoredText(entry.nameBytes),
    granularity: 2 ** entry.granularityBits,
    inUse: (entry.flags & BITMAP_FLAG_IN_USE) !== 0,
    auto: (entry.flags & BITMAP_FLAG_AUTO) !== 0,
  };
}

/**
 * Holds the extension itself against the specification ("Bitmaps extension") and QEMU's limits.
 * @throws Qcow2Error "limit-exceeded", "invalid-image", "unsafe-offset"
 */
export function assertBitmapsExtension(extension: BitmapsExtension, clusterSize: number): void {
  const { bitmapCount, directorySize, directoryOffset } = extension;
  const structure = "bitmaps extension";
  if (bitmapCount > MAX_BITMAPS) {
    throw new Qcow2Error(
      "limit-exceeded",
      `bitmaps_ext: Image has ${bitmapCount} bitmaps, exceeding the QEMU supported maximum of ${MAX_BITMAPS}`,
      { what: "bitmaps", found: bitmapCount, maximum: MAX_BITMAPS },
    );
  }
  if (bitmapCount === 0) {
    throw new Qcow2Error("invalid-image", "found bitmaps extension with zero bitmaps", {
      structure,
      found: 0,
    });
  }
  if (directoryOffset % BigInt(clusterSize) !== 0n) {
    throw new Qcow2Error("invalid-image", "bitmaps_ext: invalid bitmap directory offset", {
      structure,
      found: directoryOffset,
    });
  }
  if (directorySize > BigInt(MAX_BITMAP_DIRECTORY_BYTES)) {
    throw new Qcow2Error(
      "limit-exceeded",
      `bitmaps_ext: bitmap directory size (${directorySize}) exceeds the maximum supported size (${MAX_BITMAP_DIRECTORY_BYTES})`,
      { what: "bitmap directory", found: directorySize, maximum: MAX_BITMAP_DIRECTORY_BYTES },
    );
  }
  if (directorySize === 0n) {
    throw new Qcow2Error("invalid-image", "Requested bitmap directory size is zero", { structure, found: 0 });
  }
  if (directoryOffset > BigInt(Number.MAX_SAFE_INTEGER)) {
    throw new Qcow2Error("unsafe-offset", `Bitmap directory offset ${directoryOffset} is beyond 2^53 - 1`, {
      structure,
      found: directoryOffset,
    });
  }
}
