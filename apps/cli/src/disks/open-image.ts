/** Opens what a command line names. Errors say which image could not be opened, and why. */
import { type Codecs, type Disk, Qcow2Image, RawDisk, type WritableDisk } from "@qcow2/core";
import { openDisk } from "@qcow2/node";
import { CommandError } from "../errors/command-errors.ts";
import { couldNotOpen } from "../errors/describe-error.ts";
import type { ImageName } from "../options/image-name.ts";
import { type SnapshotSelector, selectSnapshot } from "../options/snapshot-selector.ts";

export interface OpenImageOptions {
  /** Default true. */
  readonly readOnly?: boolean;
  /** Neither backing files nor guest data are needed. */
  readonly metadataOnly?: boolean;
  readonly snapshot?: SnapshotSelector | undefined;
  readonly codecs?: Codecs | undefined;
  /** What becomes of freed space; see `OpenOptions.discard`. */
  readonly discard?: "ignore" | "unmap" | undefined;
  /** See `openDisk`. */
  readonly writableBacking?: number | undefined;
}

/** @throws CommandError `Could not open 'NAME': REASON` */
export async function openImage(name: ImageName, options: OpenImageOptions = {}): Promise<Disk> {
  const { readOnly = true, metadataOnly = false, snapshot, codecs, discard, writableBacking } = options;
  const common = {
    path: name.path,
    format: name.format,
    forceShare: name.forceShare,
    followReferences: "any",
    // As qemu-img does: images made before formats were recorded still open.
    probeBacking: true,
  } as const;
  try {
    const snapshotId = snapshot === undefined ? undefined : await findSnapshot(common, snapshot);
    return await openDisk({
      ...common,
      readOnly,
      metadataOnly,
      codecs,
      snapshot: snapshotId,
      writableBacking,
      image: { discard },
    });
  } catch (error) {
    throw couldNotOpen(name.given, error);
  }
}

/** An image that is there, for writing in place. @throws CommandError `Could not open 'NAME': REASON` */
export async function openWritable(
  name: ImageName,
  codecs: Codecs,
  options: Pick<OpenImageOptions, "metadataOnly" | "writableBacking" | "discard"> = {},
): Promise<WritableDisk> {
  const disk = await openImage(name, { ...options, readOnly: false, codecs });
  if (disk instanceof Qcow2Image || disk instanceof RawDisk) return disk;
  await disk.close();
  throw new CommandError(`Could not open '${name.given}': The format '${disk.format}' cannot be written`);
}

async function findSnapshot(
  image: Parameters<typeof openDisk>[0],
  selector: SnapshotSelector,
): Promise<string> {
  await using disk = await openDisk({ ...image, readOnly: true, metadataOnly: true });
  return selectSnapshot(disk instanceof Qcow2Image ? disk.info().snapshots : [], selector);
}
