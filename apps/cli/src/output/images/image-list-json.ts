/** Trees of images as JSON. Members are called as in `info` where they mean the same. */
import type { ImageNode, ImageTrees } from "@qcow2/node";
import { type PlacedImage, walkTrees } from "./walk-trees.ts";

/** What `ls --output=json` prints, newline included: a list in the order of the trees, bases before their overlays. */
export function imageListJson({ trees, unreadable }: ImageTrees): string {
  const list = {
    images: Array.from(walkTrees(trees), imageJson),
    unreadable: unreadable.map(({ path, error }) => ({ filename: path, message: error.message })),
  };
  return `${JSON.stringify(list, null, 4)}\n`;
}

function imageJson({ image, backing, depth }: PlacedImage): object {
  const { info, check } = image;
  return {
    filename: image.path,
    "other-filenames": image.otherPaths.length === 0 ? undefined : image.otherPaths,
    listed: image.isListed,
    depth,
    "backing-image": backing?.path,
    format: image.format,
    "virtual-size": image.virtualSize,
    "actual-size": image.actualSize,
    modified: image.modified?.toISOString(),
    "used-by-others": image.use,
    ...(info === undefined ? {} : headerJson(info)),
    health: image.health,
    problems: image.problems.map(({ severity, code, message }) => ({ severity, code, message })),
    check:
      check === undefined
        ? undefined
        : {
            corruptions: check.corruptions,
            leaks: check.leaks,
            "check-errors": check.checkErrors,
            "total-clusters": check.totalClusters,
            "allocated-clusters": check.allocatedClusters,
          },
  };
}

function headerJson(info: NonNullable<ImageNode["info"]>): object {
  return {
    compat: info.version === 2 ? "0.10" : "1.1",
    "cluster-size": info.clusterSize,
    "backing-filename": info.backingFile,
    "backing-filename-format": info.backingFormat,
    "data-file": info.dataFile,
    snapshots: info.snapshotCount,
    bitmaps: info.bitmapCount,
    "dirty-flag": info.dirty,
    corrupt: info.corrupt,
    encrypted: info.encryption !== "none",
  };
}
