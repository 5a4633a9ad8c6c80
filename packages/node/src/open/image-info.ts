import { type Qcow2Info, readImageInfo } from "@qcow2/core";
import type { FileAccess } from "./image-place.ts";
import { openImageFile } from "./open-image-file.ts";
import { rawVirtualSize } from "./raw-virtual-size.ts";

export interface ImageInfoOptions extends FileAccess {
  readonly path: string;
  /** "raw" or "qcow2"; default: found out by the first bytes. Name it for files that a guest could have written. */
  readonly format?: string | undefined;
  /** Look although others may be writing. */
  readonly forceShare?: boolean | undefined;
}

export interface ImageInfo {
  readonly format: "qcow2" | "raw";
  /** Of the virtual disk, bytes. */
  readonly virtualSize: number;
  /** What the image says of itself; undefined for a raw one, which says nothing. */
  readonly qcow2: Qcow2Info | undefined;
}

/**
 * What an image is, without opening it as a disk: no other file is opened, no guest data read, and the engine that
 * could do so is not loaded. A qcow2 image is locked meanwhile as for reading; of a raw one, others may be writing to it.
 * @throws Qcow2Error as `openDisk`
 */
export async function imageInfo(options: ImageInfoOptions): Promise<ImageInfo> {
  const { storage, format } = await openImageFile({ ...options, readOnly: true, allowWriters: true });
  await using _closing = storage;
  const qcow2 = format === "qcow2" ? await readImageInfo(storage) : undefined;
  return { format, virtualSize: qcow2?.virtualSize ?? rawVirtualSize(await storage.size()), qcow2 };
}
