/** The size of a block device, which stat does not tell. */
import fs from "node:fs";
import type { Libc } from "../native/libc.ts";
import { readAt } from "./positioned-io.ts";

const SECTOR_BYTES = 512;

/** Bytes of the block device behind `fd`: asked of the kernel where it can be, else found by reading. */
export async function deviceSize(fd: number, libc: Libc | undefined): Promise<number> {
  const end = libc?.seekEnd(fd) ?? 0;
  if (end > 0) return end;
  return (await sizeFromSysfs(fd)) ?? sizeByReading(fd);
}

/** Linux lists every block device's size under its device number, in sectors of 512 bytes. */
async function sizeFromSysfs(fd: number): Promise<number | undefined> {
  if (process.platform !== "linux") return undefined;
  const { rdev } = fs.fstatSync(fd, { bigint: true });
  const major = ((rdev >> 8n) & 0xfffn) | ((rdev >> 32n) & 0xfffff000n);
  const minor = (rdev & 0xffn) | ((rdev >> 12n) & 0xffffff00n);
  try {
    const sectors = Number(await fs.promises.readFile(`/sys/dev/block/${major}:${minor}/size`, "latin1"));
    return Number.isSafeInteger(sectors * SECTOR_BYTES) ? sectors * SECTOR_BYTES : undefined;
  } catch {
    return undefined;
  }
}

/** Finds the first sector that cannot be read: about a hundred reads. */
async function sizeByReading(fd: number): Promise<number> {
  const sector = new Uint8Array(SECTOR_BYTES);
  const exists = async (index: number): Promise<boolean> => {
    try {
      return (await readAt(fd, sector, index * SECTOR_BYTES)) === SECTOR_BYTES;
    } catch {
      return false;
    }
  };
  // A first sector that cannot be read is an I/O error, not an empty device.
  if ((await readAt(fd, sector, 0)) < SECTOR_BYTES) return 0;
  let readable = 0;
  let beyond = 1;
  while (await exists(beyond)) {
    readable = beyond;
    beyond *= 2;
  }
  while (beyond - readable > 1) {
    const middle = Math.floor((readable + beyond) / 2);
    if (await exists(middle)) readable = middle;
    else beyond = middle;
  }
  return (readable + 1) * SECTOR_BYTES;
}
