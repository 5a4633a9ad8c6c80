/** Sectors, as everywhere in QEMU. */
const SECTOR_BYTES = 512;

/** Of a raw image in a file of so many bytes; `RawDisk` says the same of an open one. */
export function rawVirtualSize(fileBytes: number): number {
  return Math.ceil(fileBytes / SECTOR_BYTES) * SECTOR_BYTES;
}
