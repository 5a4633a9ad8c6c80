/** Which files a disk is read from and written to, whatever they are called. */
import { type Disk, Qcow2Error } from "@qcow2/core";
import type { FileStorage } from "../file/file-storage.ts";

export interface DiskFile {
  /** As messages call it. */
  readonly name: string;
  /** What tells two files apart: the device and the inode's number, or the number of a block device. */
  readonly identity: string;
  readonly readOnly: boolean;
  /** True if it was written to since it was opened, by whomever; see `FileStorage.hasChanged`. False once it is closed. */
  hasChanged(): boolean;
}

/** The files of one disk: its image, its backing files, and the data files of them all. */
export class DiskFiles {
  readonly #files: DiskFile[] = [];

  get all(): readonly DiskFile[] {
    return this.#files;
  }

  add(file: FileStorage): void {
    this.assertApart(file);
    const { name, identity, readOnly } = file;
    this.#files.push({ name, identity, readOnly, hasChanged: () => !file.closed && file.hasChanged() });
  }

  /**
   * Throws if the file is one of these already, and one of the two is written: what is written through one of its names
   * would change under the other.
   * @throws Qcow2Error "reference-loop"
   */
  assertApart({ name, identity, readOnly }: Omit<DiskFile, "hasChanged">): void {
    const same = this.#files.find((file) => file.identity === identity && !(readOnly && file.readOnly));
    if (same === undefined) return;
    const message = `The image refers to '${name}', which is already part of its own chain`;
    throw new Qcow2Error("reference-loop", message, { name });
  }
}

const filesByDisk = new WeakMap<Disk, DiskFiles>();

/** Remembers which files a disk has, for {@link filesOf}. */
export function rememberFiles(disk: Disk, files: DiskFiles): void {
  filesByDisk.set(disk, files);
}

/**
 * The files that a disk from `openDisk` was opened with: the image, its backing files, and their data files. None for other
 * disks.
 */
export function filesOf(disk: Disk): readonly DiskFile[] {
  return filesByDisk.get(disk)?.all ?? [];
}
