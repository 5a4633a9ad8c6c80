/** What has to be true of an image before anything in it is changed. */
import {
  BITMAP_ENTRY_FIXED_BYTES,
  BITMAP_FLAG_AUTO,
  BITMAP_FLAG_IN_USE,
} from "../format/bitmap-directory.ts";
import { FEATURE_TYPE_AUTOCLEAR, knownFeatureMask } from "../format/feature-bits.ts";
import { roundUp } from "../format/geometry.ts";
import { HEADER_AUTOCLEAR_FEATURES_AT } from "../format/header.ts";
import { assertDistinctTables } from "./distinct-tables.ts";
import type { GuardedFile } from "./guarded-file.ts";
import type { OpenImage } from "./open-image.ts";
import type { WriteContext } from "./write-context.ts";

/** Byte position of the flags within a bitmap directory entry (specification: "Bitmap directory"). */
const BITMAP_FLAGS_AT = 12;

/**
 * Clears autoclear bits that this library does not know (the specification asks for it), and marks bitmaps that
 * should have recorded the coming changes as in use: this engine does not update them, and a bitmap that silently
 * misses a change makes an incremental backup wrong. Durable before it resolves, in images that promise an order.
 */
export async function beginWriting({ image, file }: WriteContext): Promise<void> {
  await assertDistinctTables(image);
  await file.begin();
  const clearedFeatures = await clearUnknownAutoclearBits(image, file);
  const markedBitmaps = await markBitmapsInUse(image, file);
  if (image.durability.isOrdered && (clearedFeatures || markedBitmaps)) await file.flush();
}

/** As {@link beginWriting}, for changes that leave guest data as it is: bitmaps stay true. */
export async function beginChangingMetadata({ image, file }: WriteContext): Promise<void> {
  await assertDistinctTables(image);
  await file.begin();
  if (await clearUnknownAutoclearBits(image, file)) await file.flush();
}

async function clearUnknownAutoclearBits({ layout }: OpenImage, file: GuardedFile): Promise<boolean> {
  const features = layout.header.autoclearFeatures;
  const kept = features & knownFeatureMask(FEATURE_TYPE_AUTOCLEAR);
  if (kept === features) return false;
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, kept);
  await file.write("main-header", HEADER_AUTOCLEAR_FEATURES_AT, bytes);
  return true;
}

async function markBitmapsInUse({ layout, bitmaps }: OpenImage, file: GuardedFile): Promise<boolean> {
  if (layout.bitmaps === undefined) return false;
  let at = Number(layout.bitmaps.directoryOffset);
  let marked = false;
  for (const bitmap of bitmaps) {
    if ((bitmap.flags & BITMAP_FLAG_AUTO) !== 0 && (bitmap.flags & BITMAP_FLAG_IN_USE) === 0) {
      const flags = new Uint8Array(4);
      new DataView(flags.buffer).setUint32(0, bitmap.flags | BITMAP_FLAG_IN_USE);
      await file.write("bitmap-directory", at + BITMAP_FLAGS_AT, flags);
      marked = true;
    }
    at += roundUp(BITMAP_ENTRY_FIXED_BYTES + bitmap.extraData.length + bitmap.nameBytes.length, 8);
  }
  return marked;
}
