/**
 * Bitmaps that follow the disk while it is written. They are marked as in use before the first change, kept in memory,
 * and stored when the image is closed: whoever finds one in use knows that it may have missed something.
 */
import { BITMAP_FLAG_AUTO, BITMAP_FLAG_IN_USE } from "../../format/bitmap-directory.ts";
import { decodeStoredText } from "../../format/stored-text.ts";
import { MAX_TRACKED_BITMAP_BYTES } from "../../limits.ts";
import type { OpenImage } from "../open-image.ts";
import { type GiveBack, MetadataTransaction } from "../transaction/metadata-transaction.ts";
import type { WriteContext } from "../write-context.ts";
import { BitmapEditor } from "./bitmap-editor.ts";
import type { GuestRange } from "./stored-bitmap.ts";
import { setBits } from "./stored-bitmap.ts";

interface TrackedBitmap {
  readonly name: string;
  readonly granularity: number;
  /** What was changed since the bitmap was stored. */
  readonly changed: Uint8Array;
}

export class BitmapTracking {
  readonly #bitmaps: readonly TrackedBitmap[];
  readonly #size: number;

  private constructor(bitmaps: readonly TrackedBitmap[], size: number) {
    this.#bitmaps = bitmaps;
    this.#size = size;
  }

  /** Undefined if no bitmap follows the disk, or if they are too large to be held: they are then left in use. */
  static of({ bitmaps, layout }: OpenImage): BitmapTracking | undefined {
    const following = bitmaps.filter(
      ({ flags }) => (flags & BITMAP_FLAG_AUTO) !== 0 && (flags & BITMAP_FLAG_IN_USE) === 0,
    );
    const lengths = following.map(({ granularityBits }) =>
      Math.ceil(layout.virtualSize / 2 ** granularityBits / 8),
    );
    const total = lengths.reduce((sum, length) => sum + length, 0);
    if (following.length === 0 || total > MAX_TRACKED_BITMAP_BYTES) return undefined;
    const tracked = following.map(({ nameBytes, granularityBits }, index) => ({
      name: decodeStoredText(nameBytes),
      granularity: 2 ** granularityBits,
      changed: new Uint8Array(lengths[index] as number),
    }));
    return new BitmapTracking(tracked, layout.virtualSize);
  }

  /** The guest bytes start .. end (exclusive) change. */
  note(start: number, end: number): void {
    for (const { granularity, changed } of this.#bitmaps) {
      setBits(changed, Math.floor(start / granularity), Math.ceil(Math.min(end, this.#size) / granularity));
    }
  }

  /** Stores the bitmaps and says that they are right; everything that they tell of must be durable. */
  async store(context: WriteContext): Promise<GiveBack> {
    return await MetadataTransaction.run(context, async (transaction) => {
      const editor = new BitmapEditor(transaction);
      for (const { name, granularity, changed } of this.#bitmaps) {
        editor.setSaved(name);
        await editor.addDirty(name, (part) => changedRanges(changed, granularity, part));
      }
      return { bitmaps: await editor.finish() };
    });
  }
}

/** The granules of `part` whose bits are set. */
async function* changedRanges(
  bits: Uint8Array,
  granularity: number,
  { start, end }: GuestRange,
): AsyncGenerator<GuestRange> {
  const [first, last] = [Math.floor(start / granularity), Math.ceil(end / granularity)];
  for (let bit = first; bit < last; bit++) {
    if ((bits[bit >> 3] as number) === 0) {
      bit |= 7;
      continue;
    }
    const from = bit;
    while (bit < last && ((bits[bit >> 3] as number) & (1 << (bit & 7))) !== 0) bit++;
    if (bit > from) yield { start: from * granularity, end: Math.min(bit * granularity, end) };
  }
}
