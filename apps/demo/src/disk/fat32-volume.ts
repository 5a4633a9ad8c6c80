/**
 * Writes a FAT32 file system that an operating system can mount: folders, files with 8.3 names, and the remains of
 * deleted files. Cluster data is written as it comes; the tables and folders follow in `finish`.
 */
import { type DirectoryEntry, ENTRY_BYTES, encodeDirectory } from "./fat32-directory.ts";
import { SECTOR_BYTES } from "./partition-table.ts";

/** Writes bytes at an offset of the volume. */
export type WriteAt = (offset: number, bytes: Uint8Array) => void;

const SECTORS_PER_CLUSTER = 8;
export const CLUSTER_BYTES: number = SECTORS_PER_CLUSTER * SECTOR_BYTES;
const RESERVED_SECTORS = 32;
const FAT_COUNT = 2;
const FIRST_CLUSTER = 2;
const ROOT_CLUSTER = 2;
const END_OF_CHAIN = 0x0fffffff;
const MEDIA_HARD_DISK = 0xf8;
/** With fewer clusters, every driver takes the volume for FAT16. */
const MIN_CLUSTERS = 65525;

interface Folder {
  readonly firstCluster: number;
  readonly entries: DirectoryEntry[];
  readonly parent: Folder | undefined;
}

export class Fat32Volume {
  readonly #write: WriteAt;
  readonly #sectors: number;
  readonly #sectorsPerFat: number;
  readonly #hiddenSectors: number;
  readonly #label: string;
  readonly #fat: Uint32Array;
  readonly #folders = new Map<string, Folder>();
  #nextCluster = FIRST_CLUSTER;

  /** `offset` and `length` are the partition's, in bytes. `write` takes offsets within the volume. */
  constructor(options: {
    readonly offset: number;
    readonly length: number;
    readonly label: string;
    readonly write: WriteAt;
  }) {
    this.#write = options.write;
    this.#label = options.label;
    this.#hiddenSectors = options.offset / SECTOR_BYTES;
    this.#sectors = options.length / SECTOR_BYTES;
    const entriesPerSector = SECTOR_BYTES / 4;
    const dataSectors = this.#sectors - RESERVED_SECTORS;
    this.#sectorsPerFat = Math.ceil(
      (dataSectors + FIRST_CLUSTER * SECTORS_PER_CLUSTER) /
        (SECTORS_PER_CLUSTER * entriesPerSector + FAT_COUNT),
    );
    const clusters = Math.floor((dataSectors - FAT_COUNT * this.#sectorsPerFat) / SECTORS_PER_CLUSTER);
    if (clusters < MIN_CLUSTERS) throw new RangeError(`${options.length} bytes are too few for FAT32`);
    this.#fat = new Uint32Array(clusters + FIRST_CLUSTER);
    this.#fat[0] = 0x0fffff00 | MEDIA_HARD_DISK;
    this.#fat[1] = END_OF_CHAIN;
    this.#folders.set("", { firstCluster: this.#allocate(1), entries: [], parent: undefined });
  }

  /** Adds a folder whose parent exists; names are upper case, 8.3, separated by "/". */
  addFolder(path: string, modified: Date): void {
    const { parent, name } = this.#locate(path);
    const firstCluster = this.#allocate(1);
    parent.entries.push({ name, kind: "folder", firstCluster, length: 0, modified, deleted: false });
    this.#folders.set(path, { firstCluster, entries: [], parent });
  }

  addFile(path: string, content: Uint8Array, modified: Date): void {
    this.#addFile(path, content, modified, false);
  }

  /** A file as it is after `del`: its name is struck out and its clusters are free, but its bytes are still there. */
  addDeletedFile(path: string, content: Uint8Array, modified: Date): void {
    const firstCluster = this.#addFile(path, content, modified, true);
    const count = Math.ceil(content.length / CLUSTER_BYTES);
    this.#fat.fill(0, firstCluster, firstCluster + count);
  }

  /** Leaves clusters free, as deleting and growing files does. Nothing is written: the range stays a hole. */
  skip(lengthBytes: number): void {
    this.#nextCluster += Math.ceil(lengthBytes / CLUSTER_BYTES);
  }

  /** Writes folders, allocation tables and boot sectors. */
  finish(): void {
    for (const folder of this.#folders.values()) this.#writeFolder(folder);
    const table = new Uint8Array(this.#sectorsPerFat * SECTOR_BYTES);
    const view = new DataView(table.buffer);
    for (const [index, entry] of this.#fat.entries()) view.setUint32(index * 4, entry, true);
    for (let copy = 0; copy < FAT_COUNT; copy++) {
      this.#write((RESERVED_SECTORS + copy * this.#sectorsPerFat) * SECTOR_BYTES, table);
    }
    // The boot sector and its companion, then their backup, where the boot sector says it is.
    for (const first of [0, 6]) {
      this.#write(first * SECTOR_BYTES, this.#bootSector());
      this.#write((first + 1) * SECTOR_BYTES, this.#infoSector());
    }
  }

  #addFile(path: string, content: Uint8Array, modified: Date, deleted: boolean): number {
    const { parent, name } = this.#locate(path);
    const count = Math.ceil(content.length / CLUSTER_BYTES);
    const firstCluster = count === 0 ? 0 : this.#allocate(count);
    if (count > 0) this.#write(this.#clusterOffset(firstCluster), content);
    parent.entries.push({ name, kind: "file", firstCluster, length: content.length, modified, deleted });
    return firstCluster;
  }

  #locate(path: string): { parent: Folder; name: string } {
    const slash = path.lastIndexOf("/");
    const parent = this.#folders.get(slash < 0 ? "" : path.slice(0, slash));
    if (parent === undefined) throw new RangeError(`the folder of ${path} does not exist`);
    return { parent, name: path.slice(slash + 1) };
  }

  /** A chain of `count` clusters in a row; returns the first. */
  #allocate(count: number): number {
    const first = this.#nextCluster;
    if (first + count > this.#fat.length) throw new RangeError("the volume is full");
    for (let index = 0; index < count; index++) {
      this.#fat[first + index] = index === count - 1 ? END_OF_CHAIN : first + index + 1;
    }
    this.#nextCluster += count;
    return first;
  }

  #clusterOffset(cluster: number): number {
    const dataSector = RESERVED_SECTORS + FAT_COUNT * this.#sectorsPerFat;
    return (dataSector + (cluster - FIRST_CLUSTER) * SECTORS_PER_CLUSTER) * SECTOR_BYTES;
  }

  #writeFolder(folder: Folder): void {
    const bytes = encodeDirectory({
      entries: folder.entries,
      // The root has the volume's label; other folders know themselves and their parent (0 means the root).
      label: folder.parent === undefined ? this.#label : undefined,
      self: folder.firstCluster,
      parent: folder.parent?.parent === undefined ? 0 : folder.parent.firstCluster,
    });
    const perCluster = CLUSTER_BYTES / ENTRY_BYTES;
    let cluster = folder.firstCluster;
    for (let at = 0; at < bytes.length; at += perCluster * ENTRY_BYTES) {
      if (at > 0) {
        const next = this.#allocate(1);
        this.#fat[cluster] = next;
        cluster = next;
      }
      const piece = new Uint8Array(CLUSTER_BYTES);
      piece.set(bytes.subarray(at, at + CLUSTER_BYTES));
      this.#write(this.#clusterOffset(cluster), piece);
    }
  }

  #bootSector(): Uint8Array {
    const sector = new Uint8Array(SECTOR_BYTES);
    const view = new DataView(sector.buffer);
    const text = (at: number, value: string): void => sector.set(new TextEncoder().encode(value), at);
    sector.set([0xeb, 0x58, 0x90]);
    text(3, "MSWIN4.1");
    view.setUint16(11, SECTOR_BYTES, true);
    sector[13] = SECTORS_PER_CLUSTER;
    view.setUint16(14, RESERVED_SECTORS, true);
    sector[16] = FAT_COUNT;
    sector[21] = MEDIA_HARD_DISK;
    view.setUint16(24, 63, true);
    view.setUint16(26, 255, true);
    view.setUint32(28, this.#hiddenSectors, true);
    view.setUint32(32, this.#sectors, true);
    view.setUint32(36, this.#sectorsPerFat, true);
    view.setUint32(44, ROOT_CLUSTER, true);
    view.setUint16(48, 1, true);
    view.setUint16(50, 6, true);
    sector[64] = 0x80;
    sector[66] = 0x29;
    view.setUint32(67, 0x51c0_2222, true);
    text(71, this.#label.padEnd(11));
    text(82, "FAT32   ");
    view.setUint16(510, 0xaa55, true);
    return sector;
  }

  #infoSector(): Uint8Array {
    const sector = new Uint8Array(SECTOR_BYTES);
    const view = new DataView(sector.buffer);
    view.setUint32(0, 0x41615252, true);
    view.setUint32(484, 0x61417272, true);
    view.setUint32(
      488,
      this.#fat.reduce((free, entry) => free + (entry === 0 ? 1 : 0), 0),
      true,
    );
    view.setUint32(492, this.#nextCluster, true);
    view.setUint32(508, 0xaa550000, true);
    return sector;
  }
}
