/** Who goes on with an image after a change of it as a whole, done or failed: the end of the disk is written and flushed. */
import { isQcow2Error, type Qcow2Image } from "@qcow2/core";
import { noteChange } from "./bitmap-model.ts";
import type { ImageState } from "./image-state.ts";
import { expectEnd } from "./sound-image.ts";

const SECTOR = 512;
const FILLING = 0x5e;

/** Bytes offset .. offset + length of the disk. */
export interface WrittenEnd {
  readonly offset: number;
  readonly length: number;
  /** Everything succeeded: it has to be there from now on. Otherwise it may be. */
  readonly isDurable: boolean;
}

/** Writes from where `place` (from 0, below 1) stands for, and flushes. Failures are errors of the library. */
export async function writeEnd(image: Qcow2Image, place: number): Promise<WrittenEnd> {
  const offset = Math.floor((place * image.size) / SECTOR) * SECTOR;
  const length = image.size - offset;
  try {
    await expectEnd("going on", image.write({ offset, from: new Uint8Array(length).fill(FILLING) }));
    await expectEnd("flushing", image.flush());
    return { offset, length, isDurable: true };
  } catch (error) {
    if (!isQcow2Error(error)) throw error;
    return { offset, length, isDurable: false };
  }
}

/**
 * What the image may hold, if it may have held `allowed` before; `found` is the disk that it has. Of a write that is not
 * durable each sector may be there. Bitmaps must not follow the disk unless they are stored.
 */
export function withEnd(
  allowed: readonly ImageState[],
  written: WrittenEnd,
  found: Uint8Array,
): ImageState[] {
  return allowed.map((state) => {
    const disk = state.disk.slice();
    for (let at = written.offset; at < Math.min(written.offset + written.length, disk.length); at += SECTOR) {
      const end = at + SECTOR;
      const isThere = found.subarray(at, end).every((byte) => byte === FILLING);
      if (written.isDurable || isThere) disk.fill(FILLING, at, end);
    }
    return { ...state, disk, bitmaps: noteChange(state.bitmaps, written) };
  });
}
