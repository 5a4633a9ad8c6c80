/** Opens what a command line names. Errors say which image could not be opened, and why. */
import {
  type Codecs,
  type Disk,
  Qcow2Image,
  RawDisk,
  type SnapshotInfo,
  type SnapshotReference,
  type WritableDisk,
} from "@qcow2/core";
import { type CacheMode, filesOf, type OpenDiskOptions, openDisk } from "@qcow2/node";
import type { CommandContext } from "../command.ts";
import { CommandError } from "../errors/command-errors.ts";
import { couldNotOpen } from "../errors/describe-error.ts";
import type { ImageName } from "../options/image-name.ts";
import { assertOneMeaning, type SnapshotSelector, selectSnapshot } from "../options/snapshot-selector.ts";
import { keepOutputOutOf } from "../output/own-descriptors.ts";
import { assertEncryption, placeOf } from "./named-image.ts";

export interface OpenImageOptions {
  /** Default true. */
  readonly readOnly?: boolean;
  /** Neither backing files nor guest data are needed. */
  readonly metadataOnly?: boolean;
  readonly snapshot?: SnapshotSelector | undefined;
  /** Who is told that the snapshot could be another one; default: it is refused then. */
  readonly speaker?: Pick<CommandContext, "program" | "warn"> | undefined;
  readonly codecs?: Codecs | undefined;
  /** What becomes of freed space; see `OpenOptions.discard`. */
  readonly discard?: "ignore" | "unmap" | undefined;
  /** See `openDisk`. */
  readonly writableBacking?: number | undefined;
  /** For all files of the chain, unless the image's own options say. */
  readonly cache?: CacheMode | undefined;
  /** See `openDisk`: for what looks at a disk, and copies nothing. */
  readonly allowWriters?: boolean | undefined;
}

/** @throws CommandError `Could not open 'NAME': REASON`, or that there is no such snapshot */
export async function openImage(name: ImageName, options: OpenImageOptions = {}): Promise<Disk> {
  const { readOnly = true, metadataOnly = false, snapshot, codecs, cache, writableBacking } = options;
  const common = {
    ...placeOf(name),
    cache: name.cache ?? cache,
    forceShare: name.forceShare,
    // Without guest data, nothing is read that a writer could change.
    allowWriters: options.allowWriters === true || metadataOnly,
    followReferences: "any",
    // As qemu-img does: images made before formats were recorded still open.
    probeBacking: true,
  } as const;
  let wanted: SnapshotReference | undefined;
  if (snapshot !== undefined) {
    const snapshots = await snapshotsOf(name, common);
    wanted = selectSnapshot(snapshots, snapshot);
    assertOneMeaning(snapshots, snapshot, options.speaker ?? { program: "qcow2", warn: () => undefined });
  }
  try {
    if (!readOnly && name.readOnly === true) throw new CommandError("Block node is read-only");
    const disk = await openDisk({
      ...common,
      readOnly,
      metadataOnly,
      codecs,
      snapshot: wanted,
      writableBacking,
      image: { discard: discardOf(name) ?? options.discard, overlapCheck: name.overlapCheck },
    });
    keepOutputOutOf(filesOf(disk));
    try {
      if (disk instanceof Qcow2Image) assertEncryption(name, disk.info());
    } catch (error) {
      await disk.close();
      throw error;
    }
    return disk;
  } catch (error) {
    throw couldNotOpen(name.given, error);
  }
}

function discardOf({ discard }: ImageName): "ignore" | "unmap" | undefined {
  if (discard === undefined) return undefined;
  return discard === "unmap" || discard === "on" ? "unmap" : "ignore";
}

/** An image that is there, for writing in place. @throws CommandError `Could not open 'NAME': REASON` */
export async function openWritable(
  name: ImageName,
  codecs: Codecs,
  options: Pick<
    OpenImageOptions,
    "metadataOnly" | "writableBacking" | "discard" | "cache" | "allowWriters"
  > = {},
): Promise<WritableDisk> {
  const disk = await openImage(name, { ...options, readOnly: false, codecs });
  if (disk instanceof Qcow2Image || disk instanceof RawDisk) return disk;
  await disk.close();
  throw new CommandError(`Could not open '${name.given}': The format '${disk.format}' cannot be written`);
}

/** @throws CommandError `Could not open 'NAME': REASON` */
async function snapshotsOf(name: ImageName, image: OpenDiskOptions): Promise<readonly SnapshotInfo[]> {
  try {
    await using disk = await openDisk({ ...image, readOnly: true, metadataOnly: true });
    return disk instanceof Qcow2Image ? disk.info().snapshots : [];
  } catch (error) {
    throw couldNotOpen(name.given, error);
  }
}
