/** The images of folders, as the trees of their backing chains. */
import type { FollowReferences } from "../references/file-references.ts";
import { arrangeTrees, type ImageOrder } from "./arrange-trees.ts";
import { type CheckImagesOptions, checkImages } from "./check-images.ts";
import { type CollectedImage, collectImages } from "./collect-images.ts";
import { findFiles } from "./find-files.ts";
import type { ImageTrees } from "./image-tree.ts";

export interface ImageTreesOptions extends CheckImagesOptions {
  /** Folders, and files that are shown whatever they are. */
  readonly paths: readonly string[];
  /** Look into folders within folders, too; links to folders are not followed. Default false. */
  readonly recursive?: boolean | undefined;
  /** Hidden files, and files that do not look like images, too. Default false. */
  readonly all?: boolean | undefined;
  /** Which files an image may lead to. Default "any": no more than the headers of local files is read. */
  readonly followReferences?: FollowReferences | undefined;
  /** Check the metadata of the qcow2 images that are listed, as `Qcow2Image.check` does. Default false. */
  readonly check?: boolean | undefined;
  /** What trees and overlays are sorted by. The largest and the newest come first, and a tree counts with all of it. */
  readonly order?: ImageOrder | undefined;
  /** The other way round. */
  readonly reverse?: boolean | undefined;
}

/**
 * Looks at the images of some folders: qcow2 images by their first bytes, and raw images that are named ".raw" or ".img"
 * or are the backing file of another one. Backing files elsewhere are found, too, and those that are missing; a device
 * that only an image names is not opened. Unless `check` is given, headers and the starts of L1 tables are all that is
 * read, and memory is needed only for what is returned. Nothing is locked.
 * @throws the signal's reason
 */
export async function imageTrees(options: ImageTreesOptions): Promise<ImageTrees> {
  const { paths, recursive = false, all = false, check = false, order = "name", reverse = false } = options;
  const { files, unreadable } = await findFiles({ paths, recursive, hidden: all });
  options.signal?.throwIfAborted();
  const collected = await collectImages(files, options.followReferences ?? "any");
  const bases = new Set(collected.map(({ backing }) => backing));
  const shown = collected.filter((image) => bases.has(image) || isWanted(image, all));
  if (check) await checkImages(shown, options);
  return { trees: arrangeTrees(shown, { order, reverse }), unreadable };
}

const IMAGE_NAME = /\.(qcow2|raw|img)$/i;

function isWanted(image: CollectedImage, all: boolean): boolean {
  if (!image.isListed || image.isNamed || image.content.format === "qcow2") return true;
  // Links can lead to folders, pipes and the like.
  if (image.facts?.kind === "other") return false;
  return all || IMAGE_NAME.test(image.path);
}
