/** The bitmap directory (specification: "Bitmap directory"): entries of variable length, padded to 8 bytes. */
import { Qcow2Error } from "../errors.ts";
import { MAX_BITMAP_NAME_BYTES, MAX_BITMAP_TABLE_ENTRIES, SECTOR_SIZE } from "../limits.ts";
import { roundDown } from "./geometry.ts";
import { decodeStoredText } from "./stored-text.ts";
import { viewOf } from "./uint64.ts";

/** The part of an entry that every bitmap has. */
export const BITMAP_ENTRY_FIXED_BYTES = 24;
/** The bitmap was not saved correctly; its content is not to be trusted. */
export const BITMAP_FLAG_IN_USE = 1;
/** The bitmap must follow all writes to the disk. */
export const BITMAP_FLAG_AUTO = 2;
/** All others are reserved, or (extra_data_compatible) only meaningful with extra data, which is not understood. */
const KNOWN_FLAGS: number = BITMAP_FLAG_IN_USE | BITMAP_FLAG_AUTO;
export const BITMAP_TYPE_DIRTY_TRACKING = 1;
/** QEMU's bounds; the specification allows 0..63. */
export const MIN_GRANULARITY_BITS = 9;
export const MAX_GRANULARITY_BITS = 31;
/** QEMU's bound on the data of one bitmap. */
const MAX_BITMAP_DATA_BYTES: number = 512 * 2 ** 20;

/** One bitmap as stored. */
export interface BitmapDirectoryEntry {
  /** Byte offset of the bitmap table in the image file. */
  readonly tableOffset: bigint;
  /** Entries of the bitmap table, each of 8 bytes. */
  readonly tableSize: number;
  readonly flags: number;
  readonly type: number;
  readonly granularityBits: number;
  /** The name as stored (no terminator). */
  readonly nameBytes: Uint8Array;
  readonly extraData: Uint8Array;
}

/**
 * Decodes a whole directory: `bytes` is exactly the directory, `count` what the header extension promises.
 * @throws Qcow2Error "invalid-image" if entries overrun the directory or their number is another.
 */
export function decodeBitmapDirectory(bytes: Uint8Array, count: number): BitmapDirectoryEntry[] {
  const view = viewOf(bytes);
  const entries: BitmapDirectoryEntry[] = [];
  let at = 0;
  while (at < bytes.length) {
    if (at + BITMAP_ENTRY_FIXED_BYTES > bytes.length) throw broken("Broken bitmap directory", at);
    if (entries.length === count) {
      throw broken("More bitmaps found than specified in header extension", at);
    }
    const nameSize = view.getUint16(at + 18);
    const extraSize = view.getUint32(at + 20);
    const nameStart = at + BITMAP_ENTRY_FIXED_BYTES + extraSize;
    const end = at + bitmapEntryBytes(nameSize, extraSize);
    if (end > bytes.length) throw broken("Broken bitmap directory", at);
    entries.push({
      tableOffset: view.getBigUint64(at),
      tableSize: view.getUint32(at + 8),
      flags: view.getUint32(at + 12),
      type: view.getUint8(at + 16),
      granularityBits: view.getUint8(at + 17),
      nameBytes: bytes.slice(nameStart, nameStart + nameSize),
      extraData: bytes.slice(at + BITMAP_ENTRY_FIXED_BYTES, nameStart),
    });
    at = end;
  }
  if (entries.length !== count) {
    throw broken("Less bitmaps found than specified in header extension", at);
  }
  return entries;
}

/** Encodes a directory; every entry is padded. */
export function encodeBitmapDirectory(entries: readonly BitmapDirectoryEntry[]): Uint8Array {
  const length = entries.reduce(
    (sum, { nameBytes, extraData }) => sum + bitmapEntryBytes(nameBytes.length, extraData.length),
    0,
  );
  const bytes = new Uint8Array(length);
  const view = viewOf(bytes);
  let at = 0;
  for (const entry of entries) {
    view.setBigUint64(at, entry.tableOffset);
    view.setUint32(at + 8, entry.tableSize);
    view.setUint32(at + 12, entry.flags);
    view.setUint8(at + 16, entry.type);
    view.setUint8(at + 17, entry.granularityBits);
    view.setUint16(at + 18, entry.nameBytes.length);
    view.setUint32(at + 20, entry.extraData.length);
    bytes.set(entry.extraData, at + BITMAP_ENTRY_FIXED_BYTES);
    bytes.set(entry.nameBytes, at + BITMAP_ENTRY_FIXED_BYTES + entry.extraData.length);
    at += bitmapEntryBytes(entry.nameBytes.length, entry.extraData.length);
  }
  return bytes;
}

/**
 * Holds one entry against the specification and QEMU's limits.
 * @throws Qcow2Error "invalid-image"
 */
export function assertBitmapEntry(
  entry: BitmapDirectoryEntry,
  disk: { readonly clusterSize: number; readonly virtualSize: number },
): void {
  if (entry.extraData.length !== 0) throw broken("Bitmap extra data is not supported");
  const dataBytes = entry.tableSize * disk.clusterSize;
  const inUse = (entry.flags & BITMAP_FLAG_IN_USE) !== 0;
  const satisfied =
    entry.tableSize !== 0 &&
    entry.tableSize <= MAX_BITMAP_TABLE_ENTRIES &&
    entry.tableOffset !== 0n &&
    entry.tableOffset % BigInt(disk.clusterSize) === 0n &&
    entry.granularityBits >= MIN_GRANULARITY_BITS &&
    entry.granularityBits <= MAX_GRANULARITY_BITS &&
    (entry.flags & ~KNOWN_FLAGS) === 0 &&
    entry.nameBytes.length <= MAX_BITMAP_NAME_BYTES &&
    entry.type === BITMAP_TYPE_DIRTY_TRACKING &&
    dataBytes <= MAX_BITMAP_DATA_BYTES &&
    // A bitmap that was in use may have missed a resize, so its size says nothing.
    (inUse || disk.virtualSize <= dataBytes * 8 * 2 ** entry.granularityBits);
  const name = decodeStoredText(entry.nameBytes);
  if (!satisfied) throw broken(`Bitmap '${name}' doesn't satisfy the constraints`);
  if (!inUse && entry.tableSize !== bitmapTableEntries(entry.granularityBits, disk)) {
    throw broken(`Could not read bitmap '${name}' from image: its table has ${entry.tableSize} entries`);
  }
}

/** Entries of the table of a bitmap over the whole disk: its bits are stored in units of 64. */
export function bitmapTableEntries(
  granularityBits: number,
  disk: { readonly clusterSize: number; readonly virtualSize: number },
): number {
  const bits = Math.ceil(roundDown(disk.virtualSize, SECTOR_SIZE) / 2 ** granularityBits);
  return Math.ceil((Math.ceil(bits / 64) * 8) / disk.clusterSize);
}

function bitmapEntryBytes(nameSize: number, extraSize: number): number {
  return Math.ceil((BITMAP_ENTRY_FIXED_BYTES + extraSize + nameSize) / 8) * 8;
}

function broken(message: string, offset?: number): Qcow2Error<"invalid-image"> {
  return new Qcow2Error("invalid-image", message, {
    structure: "bitmap directory",
    ...(offset === undefined ? {} : { offset }),
  });
}
