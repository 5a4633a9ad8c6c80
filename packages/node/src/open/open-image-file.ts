/** The file of an image: opened, its format known, and locked as QEMU would for that format. */
import { probeStorage, Qcow2Error, type Storage } from "@qcow2/core";
import type { DiskFiles } from "./disk-files.ts";
import { type FileAccess, openPlace } from "./image-place.ts";
import { OTHER_FORMATS } from "./other-formats.ts";

export interface OpenImageFileOptions extends FileAccess {
  readonly path: string;
  /** Default: found out by the first bytes. */
  readonly format?: string | undefined;
  readonly readOnly: boolean;
  /** Only with `readOnly`. */
  readonly forceShare?: boolean | undefined;
  /** See {@link RawSharing}. */
  readonly allowWriters?: boolean | undefined;
  /** The files of the disk that it becomes a part of. */
  readonly files?: DiskFiles | undefined;
}

export interface ImageFile {
  readonly storage: Storage & AsyncDisposable;
  readonly format: "qcow2" | "raw";
  /** Nobody had said so. */
  readonly isGuessed: boolean;
}

/** @throws Qcow2Error "unsupported-format", and what `openPlace` throws */
export async function openImageFile(options: OpenImageFileOptions): Promise<ImageFile> {
  const { path, readOnly } = options;
  // What a qcow2 image needs is added once the file is known to be one, before anything that counts is read.
  const place = await openPlace(path, { ...options, lock: readOnly ? "shared" : "write" });
  const { storage } = place;
  try {
    options.files?.add(place.file);
    const format = options.format ?? (await probeStorage(storage, { path }));
    if (format !== "raw" && format !== "qcow2") throw unsupportedFormat(path, format);
    if (readOnly && !(format === "raw" && options.allowWriters === true)) place.lock("consistent");
    return { storage, format, isGuessed: options.format === undefined };
  } catch (error) {
    await storage.close();
    throw error;
  }
}

function unsupportedFormat(path: string, format: string): Qcow2Error<"unsupported-format"> {
  const isKnown = OTHER_FORMATS.includes(format);
  const message = isKnown
    ? `'${path}' has the format '${format}', which is neither raw nor qcow2`
    : `Unknown driver '${format}'`;
  return new Qcow2Error("unsupported-format", message, { format });
}
