/** Everything that an image holds: its disk, and the disks of its snapshots. */
import type { Qcow2Image } from "@qcow2/core";
import { openShape, type ShapeFiles } from "./engine-shapes.ts";
import { expectNoCorruption, readAll } from "./sound-image.ts";

export interface SnapshotState {
  readonly id: string;
  readonly name: string;
  readonly disk: Uint8Array;
}

export interface BitmapState {
  readonly name: string;
  readonly granularity: number;
  readonly enabled: boolean;
  /** Indexes of the dirty granules, in order; "in use" for a bitmap that was not saved. */
  readonly dirty: readonly number[] | "in use";
}

export interface ImageState {
  readonly disk: Uint8Array;
  readonly snapshots: readonly SnapshotState[];
  /** What the disk reads as where it defines nothing; behind the end of it, zeroes. */
  readonly below: Uint8Array;
  /** The name of the backing file as recorded. */
  readonly backingName: string | undefined;
  readonly bitmaps: readonly BitmapState[];
}

/** What a closed image holds. */
export async function imageStateOf(files: ShapeFiles): Promise<ImageState> {
  const image = await openShape(files, { readOnly: true });
  try {
    const snapshots: SnapshotState[] = [];
    for (const { id, name } of image.info().snapshots) {
      const snapshot = await openShape(files, { readOnly: true, snapshot: id });
      snapshots.push({ id, name, disk: await readAll(snapshot) });
      await snapshot.close();
    }
    const bitmaps = await bitmapStatesOf(image);
    const below = files.backing?.toBytes() ?? new Uint8Array(0);
    return { disk: await readAll(image), snapshots, below, backingName: image.info().backingFile, bitmaps };
  } finally {
    await image.close();
  }
}

async function bitmapStatesOf(image: Qcow2Image): Promise<BitmapState[]> {
  const states: BitmapState[] = [];
  for (const { name, granularity, auto, inUse } of image.info().bitmaps) {
    if (inUse) {
      states.push({ name, granularity, enabled: auto, dirty: "in use" });
      continue;
    }
    const dirty: number[] = [];
    const { ranges } = await image.dirtyRanges(name);
    for await (const { start, end } of ranges({ start: 0, end: image.size })) {
      for (let at = start; at < end; at += granularity) dirty.push(at / granularity);
    }
    states.push({ name, granularity, enabled: auto, dirty });
  }
  return states;
}

/** A closed image holds exactly one of `allowed`, disk and snapshots together, and its check finds nothing. */
export async function expectImageState(
  files: ShapeFiles,
  allowed: readonly ImageState[],
  options: { readonly noLeaks: boolean },
): Promise<void> {
  const actual = await imageStateOf(files);
  if (!allowed.some((state) => isSameState(actual, state))) {
    throw new Error(`the image holds ${describe(actual)}, not ${allowed.map(describe).join(" or ")}`);
  }
  const image = await openShape(files, { readOnly: true });
  await expectNoCorruption(image, options);
  await image.close();
}

/** An open image's disk reads as `state` says. */
export async function expectDisk(image: Qcow2Image, state: ImageState): Promise<void> {
  if (Buffer.compare(await readAll(image), state.disk) !== 0) throw new Error("the disk reads differently");
}

function isSameState(first: ImageState, second: ImageState): boolean {
  return (
    Buffer.compare(first.disk, second.disk) === 0 &&
    first.backingName === second.backingName &&
    JSON.stringify(first.bitmaps) === JSON.stringify(second.bitmaps) &&
    first.snapshots.length === second.snapshots.length &&
    first.snapshots.every(({ id, name, disk }, index) => {
      const other = second.snapshots[index];
      return other?.id === id && other.name === name && Buffer.compare(disk, other.disk) === 0;
    })
  );
}

function describe({ disk, snapshots, backingName, bitmaps }: ImageState): string {
  const names = snapshots.map(({ id, name }) => `${id} ('${name}')`).join(", ");
  return `a disk of ${disk.length} bytes with the snapshots ${names || "none"} over ${backingName?.length ?? "no"} bytes of backing file name, bitmaps ${JSON.stringify(bitmaps)}`;
}
