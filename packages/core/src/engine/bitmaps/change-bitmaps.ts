/** Changes of persistent bitmaps (specification: "Bitmaps"), any number of them as one transaction. */
import { Qcow2Error, refuseOption } from "../../errors.ts";
import {
  BITMAP_FLAG_IN_USE,
  MAX_GRANULARITY_BITS,
  MIN_GRANULARITY_BITS,
} from "../../format/bitmap-directory.ts";
import { decodeStoredText, encodeText } from "../../format/stored-text.ts";
import { MAX_BITMAP_NAME_BYTES } from "../../limits.ts";
import type { OpenImage } from "../open-image.ts";
import {
  type GiveBack,
  MetadataTransaction,
  type TransactionOptions,
} from "../transaction/metadata-transaction.ts";
import type { WriteContext } from "../write-context.ts";
import { BitmapEditor } from "./bitmap-editor.ts";
import { type GuestRange, StoredBitmap } from "./stored-bitmap.ts";

/** QEMU's bounds for the granularity that it chooses itself. */
const MIN_DEFAULT_GRANULARITY = 4096;
const MAX_DEFAULT_GRANULARITY = 65536;

/** What to do with the bitmap `name`. */
export type BitmapAction =
  | {
      readonly kind: "add";
      readonly name: string;
      /** Guest bytes for each bit, a power of two from 512 to 2 GiB. Default: the cluster size, from 4 KiB to 64 KiB. */
      readonly granularity?: number | undefined;
      /** True (default) if it follows the disk's changes from now on. */
      readonly enabled?: boolean | undefined;
    }
  | { readonly kind: "remove" | "clear" | "enable" | "disable"; readonly name: string }
  | {
      /** Marks as dirty what is dirty in `source`, too. */
      readonly kind: "merge";
      readonly name: string;
      readonly source: string;
      /** What dirty ranges to take instead of those of this image's bitmap `source`. */
      readonly from?: DirtyRanges | undefined;
    };

/** The dirty ranges of a bitmap of some disk. */
export interface DirtyRanges {
  /** Virtual size of its disk in bytes. */
  readonly size: number;
  /** Dirty ranges within start .. end (exclusive), in order. */
  ranges(part: GuestRange): AsyncIterable<GuestRange>;
}

export interface ChangeBitmapsOptions extends TransactionOptions {
  /** Called before each action is done. */
  readonly onAction?: ((action: BitmapAction) => void) | undefined;
}

/**
 * @throws Qcow2Error "invalid-option", "bitmap-not-found", "bitmap-in-use" for one that was not saved (it can only be
 *   removed), "unsupported" in version 2 images, and what {@link MetadataTransaction.run} throws
 */
export async function changeBitmaps(
  context: WriteContext,
  actions: readonly BitmapAction[],
  options: ChangeBitmapsOptions = {},
): Promise<GiveBack> {
  const { image } = context;
  return await MetadataTransaction.run(
    context,
    async (transaction) => {
      const editor = new BitmapEditor(transaction);
      for (const action of actions) {
        options.onAction?.(action);
        await apply(editor, image, action);
      }
      return { bitmaps: await editor.finish() };
    },
    options,
  );
}

async function apply(editor: BitmapEditor, image: OpenImage, action: BitmapAction): Promise<void> {
  const { name } = action;
  switch (action.kind) {
    case "add":
      editor.add({ ...checkNewBitmap(image, action), enabled: action.enabled ?? true });
      return;
    case "remove":
      await editor.remove(name);
      return;
    case "clear":
      await editor.clear(name);
      return;
    case "enable":
    case "disable":
      editor.setEnabled(name, action.kind === "enable");
      return;
    case "merge": {
      // As in QEMU, what is wrong with the destination is told first.
      await editor.read(name);
      const source = action.from ?? (await ownRanges(editor, image, action.source));
      const { virtualSize } = image.layout;
      if (source.size !== virtualSize) {
        refuseOption(
          "source",
          `Bitmaps are of different sizes (destination size is ${virtualSize}, source size is ${source.size}) and can't be merged`,
        );
      }
      await editor.addDirty(name, (part) => source.ranges(part));
    }
  }
}

async function ownRanges(editor: BitmapEditor, image: OpenImage, name: string): Promise<DirtyRanges> {
  const stored = await editor.read(name);
  return { size: image.layout.virtualSize, ranges: (part) => stored.dirtyRanges(part) };
}

/** @throws Qcow2Error "invalid-option", "unsupported" */
function checkNewBitmap(
  { layout }: OpenImage,
  { name, granularity }: Extract<BitmapAction, { kind: "add" }>,
): { readonly nameBytes: Uint8Array; readonly granularityBits: number } {
  const { clusterSize } = layout.geometry;
  const chosen =
    granularity ?? Math.min(Math.max(clusterSize, MIN_DEFAULT_GRANULARITY), MAX_DEFAULT_GRANULARITY);
  const granularityBits = Math.log2(chosen);
  const isPossible = granularityBits >= MIN_GRANULARITY_BITS && granularityBits <= MAX_GRANULARITY_BITS;
  if (!Number.isInteger(granularityBits) || !isPossible) {
    refuseOption("granularity", "Granularity must be power of 2 and at least 512");
  }
  if (name === "") refuseOption("name", "Bitmap name cannot be empty");
  const nameBytes = encodeText(name);
  if (nameBytes.length > MAX_BITMAP_NAME_BYTES) {
    refuseOption("name", `A bitmap's name has at most ${MAX_BITMAP_NAME_BYTES} bytes`, "name-too-long");
  }
  if (layout.header.version < 3) {
    throw new Qcow2Error("unsupported", "Cannot store dirty bitmaps in qcow2 v2 files", {
      operation: "store a bitmap",
    });
  }
  return { nameBytes, granularityBits };
}

/** Looks at the image as it is now, with nothing that it refers to being used for something else meanwhile. */
export type LookAtImage = <Result>(work: (image: OpenImage) => Promise<Result>) => Promise<Result>;

/**
 * The dirty ranges of a bitmap as it is stored. They are read in steps: once another content was stored for the bitmap, or
 * it was removed, the next step fails.
 * @throws Qcow2Error "bitmap-not-found", "bitmap-in-use", "changed", "truncated", "io"
 */
export async function dirtyRangesOf(look: LookAtImage, name: string): Promise<DirtyRanges> {
  return await look(async (image) => {
    const { storage, layout, bitmaps, bitmapContents } = image;
    const index = bitmaps.findIndex(({ nameBytes }) => decodeStoredText(nameBytes) === name);
    const entry = bitmaps[index];
    if (entry === undefined) {
      throw new Qcow2Error("bitmap-not-found", `Dirty bitmap '${name}' not found`, { bitmap: name });
    }
    if ((entry.flags & BITMAP_FLAG_IN_USE) !== 0) {
      throw new Qcow2Error("bitmap-in-use", `Bitmap '${name}' is inconsistent and cannot be used`, {
        bitmap: name,
      });
    }
    const content = bitmapContents[index] as object;
    const stored = await StoredBitmap.load(storage, layout.geometry.clusterSize, entry, (read) =>
      look((now) => {
        if (now.bitmapContents.includes(content)) return read();
        throw new Qcow2Error("changed", `The bitmap '${name}' was changed while it was read`, {
          name: storage.name,
        });
      }),
    );
    return { size: layout.virtualSize, ranges: (part) => stored.dirtyRanges(part) };
  });
}
