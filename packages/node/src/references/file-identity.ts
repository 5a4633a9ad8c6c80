import fs from "node:fs";
import { hostPath } from "../file/host-path.ts";

/**
 * What tells two files apart whatever they are called: the device and inode number, or the number of a block device.
 * Undefined if there is no such file.
 */
export async function fileIdentity(path: string): Promise<string | undefined> {
  try {
    return identityOf(await fs.promises.stat(hostPath(path), { bigint: true }));
  } catch {
    return undefined;
  }
}

/** The same, of what a descriptor leads to; undefined if it is none. */
export function descriptorIdentity(fd: number): string | undefined {
  try {
    return identityOf(fs.fstatSync(fd, { bigint: true }));
  } catch {
    return undefined;
  }
}

/** The same, of a file that was looked at already. */
export function identityOf(stat: fs.BigIntStats): string {
  return stat.isBlockDevice() ? `device ${stat.rdev}` : `file ${stat.dev}:${stat.ino}`;
}
