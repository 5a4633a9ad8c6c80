import type { Codecs, Qcow2Image, RawDisk, SnapshotReference } from "@qcow2/core";
import { type NodeCodecs, nodeCodecs } from "../codecs/node-codecs.ts";
import { FileReferences, type FollowReferences } from "../references/file-references.ts";
import { DiskFiles, rememberFiles } from "./disk-files.ts";
import type { BackingOverride, FileAccess, RawSharing } from "./image-place.ts";
import { type ImageTuning, openFileDisk } from "./open-file-disk.ts";

export interface OpenDiskOptions extends FileAccess, RawSharing {
  readonly path: string;
  /** "raw" or "qcow2"; default: found out by the first bytes. Name it for files that a guest could have written. */
  readonly format?: string | undefined;
  /** Default false. */
  readonly readOnly?: boolean | undefined;
  /** Read an internal snapshot, by id or else by name; implies `readOnly`. */
  readonly snapshot?: SnapshotReference | undefined;
  /** Open only what `info` and `check` need: no backing file, no guest data. */
  readonly metadataOnly?: boolean | undefined;
  /** Read although others may be writing; only with `readOnly`. Goes for backing files too. */
  readonly forceShare?: boolean | undefined;
  /** Default: {@link nodeCodecs}, one set for all disks that are opened so. */
  readonly codecs?: Codecs | undefined;
  /** Which files the image may lead to; default "any". */
  readonly followReferences?: FollowReferences | undefined;
  /** Find out the format of backing files for which the image records none; default false, which makes them an error. */
  readonly probeBacking?: boolean | undefined;
  /**
   * Open the backing file so many layers below for writing, too; 1 is the image's own backing file. It is locked as any
   * image that is written. For `commitDisk` of `@qcow2/convert`. Default: backing files are only read.
   */
  readonly writableBacking?: number | undefined;
  /** What is read in place of the backing file that the image names, or "none". */
  readonly backing?: BackingOverride | "none" | undefined;
  /** The file with the guest data, instead of the external data file that the image names. */
  readonly dataFile?: string | undefined;
  /** What `Qcow2Image.open` knows by these names, for what is written: qcow2 images; raw ones do without. */
  readonly image?: ImageTuning | undefined;
}

let sharedCodecs: NodeCodecs | undefined;

/**
 * Opens a disk image with its backing files. Close it to release everything.
 * @throws Qcow2Error "io" (with the host's errno), "locked", "unsupported-format", "reference-denied",
 *   "reference-loop", "backing-format-missing", "out-of-range" for a `range` that the file does not have, and what
 *   `Qcow2Image.open` throws
 * @throws TypeError for options that contradict each other
 */
export async function openDisk(options: OpenDiskOptions): Promise<Qcow2Image | RawDisk> {
  const { path, forceShare, backing, dataFile, ...rest } = options;
  const readOnly = options.readOnly === true || options.snapshot !== undefined;
  if (forceShare === true && !readOnly) throw new TypeError("forceShare needs readOnly");
  sharedCodecs ??= nodeCodecs();
  const codecs = options.codecs ?? sharedCodecs;
  const { followReferences: follow, probeBacking, writableBacking, image, cache, allowWriters } = options;
  // Named one by one: what is said of the image (its snapshot, its part of a file) does not go for its backing files.
  const files = new DiskFiles();
  const references = new FileReferences(
    { follow, probeBacking, forceShare, codecs, writableBacking, image, cache, allowWriters, files },
    { override: { backing, dataFile } },
  );
  const disk = await openFileDisk({
    ...rest,
    path,
    readOnly,
    forceShare,
    codecs,
    references,
    files,
    backing: references.backingOf(path),
  });
  rememberFiles(disk, files);
  return disk;
}
