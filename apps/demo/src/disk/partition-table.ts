/** A classic partition table (MBR): four entries at the end of the first sector. */

export const SECTOR_BYTES = 512;

/** Partition types as `fdisk` lists them. */
export const PARTITION_FAT32 = 0x0c;
export const PARTITION_SWAP = 0x82;

export interface Partition {
  readonly type: number;
  /** First byte, a multiple of 512. */
  readonly offset: number;
  /** Bytes, a multiple of 512. */
  readonly length: number;
  readonly bootable?: boolean;
}

const TABLE_OFFSET = 446;
const ENTRY_BYTES = 16;
/** "Use the LBA fields instead": what partitioning tools write where cylinders cannot express the position. */
const NO_CHS = [0xfe, 0xff, 0xff] as const;

/** The disk's first sector. */
export function partitionTable(partitions: readonly Partition[], diskId: number): Uint8Array {
  const sector = new Uint8Array(SECTOR_BYTES);
  const view = new DataView(sector.buffer);
  view.setUint32(440, diskId, true);
  for (const [index, partition] of partitions.entries()) {
    const at = TABLE_OFFSET + index * ENTRY_BYTES;
    sector[at] = partition.bootable === true ? 0x80 : 0;
    sector.set(NO_CHS, at + 1);
    sector[at + 4] = partition.type;
    sector.set(NO_CHS, at + 5);
    view.setUint32(at + 8, partition.offset / SECTOR_BYTES, true);
    view.setUint32(at + 12, partition.length / SECTOR_BYTES, true);
  }
  view.setUint16(510, 0xaa55, true);
  return sector;
}
