/** Where an image is and how its file is read, where a path does not say it all. */
import { PartOfStorage, type Storage } from "@qcow2/core";
import type { CacheMode } from "../file/cache-mode.ts";
import { FileStorage } from "../file/file-storage.ts";
import type { LockMode } from "../locks/image-locks.ts";

/** A part of a file. */
export interface FileRange {
  /** First byte. */
  readonly offset: number;
  /** Bytes, which then cannot change; default: up to the end. */
  readonly length?: number | undefined;
}

export interface FileAccess {
  /** The part of the file that is the image. Default: all of it. */
  readonly range?: FileRange | undefined;
  /** Default true: take image locks and respect those of others, where the platform can. */
  readonly locking?: boolean | undefined;
  /** Default "writeback". */
  readonly cache?: CacheMode | undefined;
}

/** Who may write meanwhile, where that cannot break what is open, but only change what is read. */
export interface RawSharing {
  /**
   * Read raw images, raw backing files and external data files although others may write to them, and let writers begin
   * meanwhile: as QEMU's tools do, all but `convert`. For looking at a disk, not for copying it. A qcow2 image is never
   * read so. Default false.
   */
  readonly allowWriters?: boolean | undefined;
}

/** What is read in place of the backing file that an image names, or although it names none. */
export interface BackingOverride extends Pick<FileAccess, "range" | "locking"> {
  /** Default: the file that the image names. */
  readonly path?: string | undefined;
  /** Default: what the image says of the file that it names; of another, what is found out. */
  readonly format?: string | undefined;
  readonly backing?: BackingOverride | "none" | undefined;
  /** The file with the guest data, instead of the external data file that the image names. */
  readonly dataFile?: string | undefined;
}

export interface OpenPlaceOptions extends FileAccess {
  readonly readOnly: boolean;
  readonly forceShare?: boolean | undefined;
  /** The locks to take if any are taken. */
  readonly lock?: LockMode | undefined;
}

/** A file, or a part of one, with what takes further locks on it. */
export interface OpenPlace {
  readonly storage: Storage & AsyncDisposable;
  /** All of the file, if `storage` is a part of it. */
  readonly file: FileStorage;
  lock(mode: LockMode): void;
}

/** @throws Qcow2Error "out-of-range" for a part that the file does not have, and what opening the file throws */
export async function openPlace(path: string, options: OpenPlaceOptions): Promise<OpenPlace> {
  const { readOnly, locking = true, range, cache } = options;
  const forceShare = options.forceShare === true && readOnly;
  const file = await FileStorage.open(path, {
    readOnly,
    forceShare,
    cache,
    lock: locking ? options.lock : "none",
  });
  const lock = (mode: LockMode): void => {
    if (locking && !forceShare) file.lock(mode);
  };
  if (range === undefined) return { storage: file, file, lock };
  try {
    return { storage: await PartOfStorage.open(file, range), file, lock };
  } catch (error) {
    await file.close();
    throw error;
  }
}

/**
 * The bytes of an image, for what works on them and not on the disk, such as checking and repairing.
 * @throws as {@link openPlace}
 */
export async function openImageStorage(
  path: string,
  options: Omit<OpenPlaceOptions, "lock">,
): Promise<Storage & AsyncDisposable> {
  return (await openPlace(path, options)).storage;
}
