/**
 * Output that would go into an image: `qcow2 convert -p disk.qcow2 /dev/stdout > disk.img`. Whatever is printed where an image
 * is written overwrites a part of it, and so is left out.
 */
import { descriptorIdentity } from "@qcow2/node";

export const STDOUT = 1;
export const STDERR = 2;

const taken = new Set<number>();

export interface FileInUse {
  readonly identity: string;
  readonly readOnly: boolean;
}

/** To be told of every image that is opened for writing. */
export function keepOutputOutOf(files: readonly FileInUse[]): void {
  const written = new Set(files.filter(({ readOnly }) => !readOnly).map(({ identity }) => identity));
  if (written.size === 0) return;
  for (const fd of [STDOUT, STDERR]) {
    const identity = descriptorIdentity(fd);
    if (identity !== undefined && written.has(identity)) taken.add(fd);
  }
}

/** True if nothing may be printed there, because it is an image. */
export function isTaken(fd: typeof STDOUT | typeof STDERR): boolean {
  return taken.has(fd);
}
