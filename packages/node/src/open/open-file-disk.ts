/** Opens one file as a disk, in a format that is given or found out. */
import {
  type Codecs,
  type OpenOptions,
  Qcow2Error,
  Qcow2Image,
  RawDisk,
  type References,
  type SnapshotReference,
  type Storage,
} from "@qcow2/core";
import { type OpenImageFileOptions, openImageFile } from "./open-image-file.ts";

/** How an image is worked on, apart from which one it is. */
export type ImageTuning = Pick<
  OpenOptions,
  "l2CacheBytes" | "refcountCacheBytes" | "discard" | "overlapCheck"
>;

export interface OpenFileDiskOptions extends OpenImageFileOptions {
  readonly snapshot?: SnapshotReference | undefined;
  readonly metadataOnly?: boolean | undefined;
  readonly codecs?: Codecs | undefined;
  readonly references: References;
  /** Instead of the backing file that the image names. */
  readonly backing?: OpenOptions["backing"];
  readonly image?: ImageTuning | undefined;
}

/** @throws Qcow2Error "unsupported-format", and what opening the file and the image throws */
export async function openFileDisk(options: OpenFileDiskOptions): Promise<Qcow2Image | RawDisk> {
  const { storage, format, isGuessed } = await openImageFile(options);
  try {
    if (format === "raw") return await openRaw(storage, isGuessed, options);
    return await Qcow2Image.open({
      ...options.image,
      storage,
      readOnly: options.readOnly,
      references: options.references,
      backing: options.backing,
      codecs: options.codecs,
      metadataOnly: options.metadataOnly,
      snapshot: options.snapshot,
    });
  } catch (error) {
    await storage.close();
    throw error;
  }
}

async function openRaw(storage: Storage, isGuessed: boolean, options: OpenFileDiskOptions): Promise<RawDisk> {
  if (options.snapshot === undefined) return RawDisk.open({ storage, isGuessed, readOnly: options.readOnly });
  const message = `'${storage.name}' is a raw image, and raw images have no snapshots`;
  const { snapshot } = options;
  const text = typeof snapshot === "string" ? snapshot : (snapshot.name ?? snapshot.id ?? "");
  throw new Qcow2Error("snapshot-not-found", message, { snapshot: text });
}
