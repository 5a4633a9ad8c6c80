/** A persistent bitmap that follows the disk: it tells of every change, or says that it may not. */
import type { Qcow2Image } from "@qcow2/core";
import { openShape, type ShapeFiles } from "./engine-shapes.ts";
import { readAll } from "./sound-image.ts";

const GRANULARITY = 512;

/** Gives a closed image an empty bitmap that follows the disk from now on. */
export async function followWithBitmap(files: ShapeFiles): Promise<void> {
  const image = await openShape(files);
  await addFollower(image);
  await image.close();
}

/** Gives an open image an empty bitmap that follows the disk from now on. */
export async function addFollower(image: Qcow2Image): Promise<void> {
  await image.changeBitmaps([{ kind: "add", name: "followed", granularity: GRANULARITY }]);
}

/** Where the disk differs from `initial`, every bitmap that follows it is dirty, unless it says that it was not saved. */
export async function expectFollowed(files: ShapeFiles, initial: Uint8Array): Promise<void> {
  const image = await openShape(files, { readOnly: true });
  try {
    const bitmaps = image.info().bitmaps.filter(({ auto, inUse }) => auto && !inUse);
    if (bitmaps.length === 0) return;
    const disk = await readAll(image);
    for (const { name } of bitmaps) {
      const { ranges } = await image.dirtyRanges(name);
      const remaining = disk.slice();
      for await (const { start, end } of ranges({ start: 0, end: disk.length })) {
        remaining.set(initial.subarray(start, end), start);
      }
      if (Buffer.compare(remaining, initial) === 0) continue;
      const at = remaining.findIndex((byte, index) => byte !== initial[index]);
      throw new Error(`the bitmap '${name}' does not tell of a change at guest offset ${at}`);
    }
  } finally {
    await image.close();
  }
}
