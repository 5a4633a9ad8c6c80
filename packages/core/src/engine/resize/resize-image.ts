/** Changing the virtual size, as one transaction. */
import type { DiskResizeOptions, Preallocation } from "../../disk/disk.ts";
import { Qcow2Error, refuseOption } from "../../errors.ts";
import { l1EntriesFor, roundUp } from "../../format/geometry.ts";
import { L1_ENTRY_BYTES } from "../../format/l1-entry.ts";
import { MAX_L1_BYTES, MAX_VIRTUAL_SIZE, SECTOR_SIZE } from "../../limits.ts";
import { flushStorage } from "../../storage/final-flush.ts";
import { writeZeroBytes } from "../../storage/write-zeroes.ts";
import { BitmapEditor } from "../bitmaps/bitmap-editor.ts";
import { isDataFileRaw, type OpenImage } from "../open-image.ts";
import { completeSnapshotTable } from "../snapshots/snapshot-tree.ts";
import {
  type GiveBack,
  type HeaderChange,
  MetadataTransaction,
} from "../transaction/metadata-transaction.ts";
import type { WriteContext } from "../write-context.ts";
import { zeroGuestRange } from "../zero-writer.ts";
import { resizeTree } from "./resize-tree.ts";

/** @throws Qcow2Error "invalid-option", "unsupported", and what {@link MetadataTransaction.run} throws */
export async function resizeImage(context: WriteContext, options: DiskResizeOptions): Promise<GiveBack> {
  const { image } = context;
  const { layout, size: oldSize } = image;
  const { size } = options;
  assertResize(image, options);
  if (size > oldSize) {
    await zeroTail(context);
    do await context.commit.flush();
    while (context.commit.isDirty);
    // The data file is longer before the image says so, and shorter only after that.
    if (layout.hasDataFile) await growDataFile(image, options);
  }
  const giveBack = await MetadataTransaction.run(
    context,
    async (transaction): Promise<HeaderChange> => {
      const l1Table = await resizeTree(transaction, {
        size,
        preallocation: preallocationOf(image, options),
        revealsBacking: size > oldSize && mayReveal(image, oldSize),
      });
      // Where a snapshot does not say its size, it is the image's as it was.
      const snapshots = await completeSnapshotTable(transaction);
      const bitmaps = new BitmapEditor(transaction);
      await bitmaps.resize(size);
      return { virtualSize: size, l1Table, snapshots, bitmaps: await bitmaps.finish() };
    },
    options,
  );
  if (size >= oldSize || !layout.hasDataFile) return giveBack;
  return async () => {
    await giveBack();
    await image.dataStorage.truncate(size);
  };
}

/** True if a backing file is longer than the disk, or may be: one that the header names and that was not opened. */
function mayReveal({ backing, layout }: OpenImage, oldSize: number): boolean {
  return backing === undefined ? layout.backingFile !== undefined : backing.size > oldSize;
}

/** An external data file that is to be read on its own must have every guest cluster in the tables. */
function preallocationOf({ layout }: OpenImage, { preallocation = "off" }: DiskResizeOptions): Preallocation {
  return preallocation === "off" && isDataFileRaw(layout) ? "metadata" : preallocation;
}

/**
 * `version` is what the image has when it is resized; default: what it has now.
 * @throws Qcow2Error "invalid-option", "unsupported"
 */
export function assertResize(
  image: OpenImage,
  options: DiskResizeOptions & { readonly version?: number },
): void {
  const { layout, snapshots, metadataOnly } = image;
  const { size, shrink = false, preallocation = "off", version = layout.header.version } = options;
  if (!Number.isSafeInteger(size) || size < 0) {
    throw new RangeError(`size must be an integer from 0 to 2^53 - 1, not ${size}`);
  }
  if (size % SECTOR_SIZE !== 0) refuseOption("size", "The new size must be a multiple of 512");
  if (snapshots.length > 0 && version < 3) {
    throw new Qcow2Error("unsupported", "Can't resize a v2 image which has snapshots", {
      operation: "resize",
    });
  }
  if (metadataOnly && (layout.hasDataFile || layout.backingFile !== undefined)) {
    throw new Qcow2Error("unsupported", "Resizing needs the image's other files, and they were not opened", {
      operation: "resize",
    });
  }
  const entries = l1EntriesFor(layout.geometry, size);
  if (size > MAX_VIRTUAL_SIZE || entries * L1_ENTRY_BYTES > MAX_L1_BYTES) {
    refuseOption(
      "size",
      `The image size is too large for its cluster size: the L1 table would have ${entries * L1_ENTRY_BYTES} bytes`,
      "size-too-large",
    );
  }
  if (size < image.size && !shrink) {
    refuseOption("shrink", "Shrinking deletes what lies behind the new size, and was not asked for");
  }
  if (size < image.size && preallocation !== "off") {
    refuseOption("preallocation", "Preallocation can't be used for shrinking an image");
  }
}

/**
 * What a cluster holds behind the end of the disk is nobody's, and need not be zeroes: a larger disk that was cut off
 * before leaves its data there, and a longer backing file would show through. It becomes visible when the disk grows.
 */
async function zeroTail(context: WriteContext): Promise<void> {
  const { image } = context;
  const { clusterSize } = image.layout.geometry;
  const tail = new Uint8Array(roundUp(image.size, clusterSize) - image.size);
  if (tail.length === 0 || image.metadataOnly) return;
  await context.reads.run(() => image.reader.read(image.size, tail));
  if (tail.some((byte) => byte !== 0)) {
    await zeroGuestRange(context, image.size, image.size + tail.length, false);
  }
}

async function growDataFile(image: OpenImage, options: DiskResizeOptions): Promise<void> {
  const { dataStorage, size: oldSize } = image;
  const { size, signal } = options;
  const preallocation = preallocationOf(image, options);
  const length = size - oldSize;
  const fileSize = await dataStorage.size();
  // What the file holds behind the disk's end is nobody's, but would become visible.
  if (fileSize > oldSize)
    await writeZeroBytes(dataStorage, oldSize, Math.min(fileSize, size) - oldSize, signal);
  if (fileSize < size) await dataStorage.truncate(size);
  if (preallocation === "full") await writeZeroBytes(dataStorage, oldSize, length, signal);
  if (preallocation === "falloc") await dataStorage.allocate?.(oldSize, length);
  await flushStorage(dataStorage);
}
