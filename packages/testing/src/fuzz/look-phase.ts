/** Everything that reads a broken image. */
import { checkStorage, type Extent, inspectHeader, type Qcow2Image, readImageInfo } from "@qcow2/core";
import type { FuzzFiles } from "./build-fuzz-image.ts";
import { count, FuzzFind } from "./fuzz-find.ts";
import { guarded } from "./guarded-run.ts";
import type { ImageView } from "./observe.ts";
import { type FuzzContext, OpenedFiles } from "./opened-files.ts";

/** Something that is done with the whole disk of an image that is open read-only. */
export interface DiskLook {
  readonly name: string;
  /** Guest bytes that it reads or writes, in disks. */
  readonly passes: number;
  run(image: Qcow2Image): Promise<void>;
}

/** Disks up to this size are given to what goes through all of them. */
const MOST_BYTES: number = 4 * 2 ** 20;

/** What can be read; undefined if the image cannot be opened. */
export async function lookAt(
  broken: FuzzFiles,
  context: FuzzContext,
  looks: readonly DiskLook[],
): Promise<ImageView | undefined> {
  const files = new OpenedFiles(broken, context);
  const { guard } = files;
  await guarded("inspectHeader", guard, () => inspectHeader(files.image));
  await guarded("readImageInfo", guard, () => readImageInfo(files.image));
  await guarded("checkStorage", guard, () => checkStorage(files.image));
  const view = await files.view();
  count(context.figures, view === undefined ? "images refused" : "images opened");
  if (view !== undefined) {
    let clusters = view.active.clusters.size;
    for (const { clusters: more } of view.snapshots.values()) clusters += more.size;
    count(context.figures, "clusters read", clusters);
    await lookAtDisk(files, view, looks);
  }
  if (Buffer.compare(files.image.content, broken.image) !== 0) {
    throw new FuzzFind("read-only", "reading", "the image file was changed");
  }
  return view;
}

async function lookAtDisk(files: OpenedFiles, view: ImageView, looks: readonly DiskLook[]): Promise<void> {
  const { guard } = files;
  const opened = await guarded("open", guard, () => files.open({ readOnly: true }));
  if (opened.error !== undefined) throw new FuzzFind("typed-error", "open", "it can be opened only once");
  const image = opened.result;
  await lookAtMap(image, files, view);
  await guarded("check", guard, () => image.check());
  for (const { name, inUse } of image.info().bitmaps.slice(0, 4)) {
    if (inUse) continue;
    await guarded("dirtyRanges", guard, () => countDirty(image, name));
  }
  if (image.size <= MOST_BYTES) {
    for (const { name, passes, run } of looks) {
      await guarded(name, { ...guard, bytes: passes * image.size }, () => run(image));
    }
  }
  await guarded("close", guard, () => image.close());
}

async function countDirty(image: Qcow2Image, name: string): Promise<void> {
  const { ranges, size } = await image.dirtyRanges(name);
  let before = -1;
  for await (const { start, end } of ranges({ start: 0, end: size })) {
    if (start <= before || end <= start || end > size)
      throw new FuzzFind("map", "dirtyRanges", `${start} .. ${end}`);
    before = end;
  }
}

async function lookAtMap(image: Qcow2Image, files: OpenedFiles, view: ImageView): Promise<void> {
  const most = 1000 + files.image.content.length / 4 + (view.active.size / 512) * 2;
  await guarded("map", files.guard, async () => {
    let at = 0;
    let extents = 0;
    for await (const extent of image.map()) {
      if (extent.offset !== at || extent.length <= 0) {
        throw new FuzzFind("map", "map", `an extent at ${extent.offset} (${extent.length}) follows ${at}`);
      }
      at += extent.length;
      extents++;
      if (extents > most) throw new FuzzFind("bounded-work", "map", `more than ${most} extents`);
      image.storedAt(extent);
      expectZeroes(extent, view);
    }
    if (at !== image.size) throw new FuzzFind("map", "map", `it ends at ${at} of ${image.size}`);
  });
}

/** The clusters that a zero extent covers wholly. */
function expectZeroes({ kind, offset, length }: Extent, { active }: ImageView): void {
  if (kind !== "zero") return;
  const { clusterSize, clusters } = active;
  const first = Math.ceil(offset / clusterSize) * clusterSize;
  for (let at = first; at + clusterSize <= offset + length && at - first < 2 ** 20; at += clusterSize) {
    if (clusters.get(at)?.some((byte) => byte !== 0) === true) {
      throw new FuzzFind("map", "map", `the zeroes at ${at} read as something else`);
    }
  }
}
