import fs from "node:fs";

/**
 * What tells two files apart whatever they are called: the device and inode number, or the number of a block device.
 * Undefined if there is no such file.
 */
export async function fileIdentity(path: string): Promise<string | undefined> {
  try {
    const stat = await fs.promises.stat(path, { bigint: true });
    return stat.isBlockDevice() ? `device ${stat.rdev}` : `file ${stat.dev}:${stat.ino}`;
  } catch {
    return undefined;
  }
}
