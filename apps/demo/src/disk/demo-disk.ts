/** The disk that the demonstration converts: a partition table, a FAT32 file system in use, a swap partition. */
import { closeSync, ftruncateSync, openSync, writeSync } from "node:fs";
import { Fat32Volume } from "./fat32-volume.ts";
import { databasePages, logText, proseText, tableText } from "./file-contents.ts";
import { PARTITION_FAT32, PARTITION_SWAP, type Partition, partitionTable } from "./partition-table.ts";
import { Random } from "./random.ts";

const KIB = 1024;
const MIB = 1024 * KIB;

/** Bytes of the whole disk; 512 MiB and one odd sector, so that it is no multiple of a cluster. */
export const DISK_BYTES: number = 512 * MIB + 512;
export const FAT_PARTITION: Partition = {
  type: PARTITION_FAT32,
  offset: 1 * MIB,
  length: 416 * MIB,
  bootable: true,
};
export const SWAP_PARTITION: Partition = { type: PARTITION_SWAP, offset: 417 * MIB, length: 95 * MIB };

/** What is on the disk, for the report. */
export interface DemoDiskSummary {
  readonly files: number;
  readonly folders: number;
  readonly deletedFiles: number;
  /** Bytes in files. */
  readonly fileBytes: number;
}

interface FileKind {
  readonly folder: string;
  readonly extension: string;
  readonly count: number;
  readonly maxBytes: number;
  readonly content: (random: Random, length: number) => Uint8Array;
}

const FILE_KINDS: readonly FileKind[] = [
  { folder: "LOG", extension: "LOG", count: 60, maxBytes: 768 * KIB, content: logText },
  { folder: "DATA", extension: "CSV", count: 40, maxBytes: 512 * KIB, content: tableText },
  { folder: "DOC", extension: "TXT", count: 130, maxBytes: 64 * KIB, content: proseText },
  {
    folder: "PHOTO",
    extension: "JPG",
    count: 50,
    maxBytes: 640 * KIB,
    content: (random, length) => random.bytes(length),
  },
  { folder: "DB", extension: "DAT", count: 12, maxBytes: 4 * MIB, content: databasePages },
  // Written, and nothing but zeroes: only whoever looks at the bytes can leave them out.
  {
    folder: "DB",
    extension: "NEW",
    count: 3,
    maxBytes: 12 * MIB,
    content: (_, length) => new Uint8Array(length),
  },
];

/** Writes the disk to `path`, sparse where the host can. The same seed makes the same bytes. */
export function writeDemoDisk(path: string, seed: number): DemoDiskSummary {
  const file = openSync(path, "w");
  try {
    ftruncateSync(file, DISK_BYTES);
    const write = (offset: number, bytes: Uint8Array): void => {
      for (let done = 0; done < bytes.length; ) {
        done += writeSync(file, bytes, done, bytes.length - done, offset + done);
      }
    };
    write(0, partitionTable([FAT_PARTITION, SWAP_PARTITION], seed));
    write(SWAP_PARTITION.offset, swapHeader(SWAP_PARTITION.length));
    // Swap that was used once and then zeroed.
    write(SWAP_PARTITION.offset + 16 * MIB, new Uint8Array(8 * MIB));
    return fillFileSystem(write, new Random(seed));
  } finally {
    closeSync(file);
  }
}

function fillFileSystem(write: (offset: number, bytes: Uint8Array) => void, random: Random): DemoDiskSummary {
  const volume = new Fat32Volume({
    ...FAT_PARTITION,
    label: "QCOW2 DEMO",
    write: (offset, bytes) => write(FAT_PARTITION.offset + offset, bytes),
  });
  const folders = [...new Set(FILE_KINDS.map((kind) => kind.folder))];
  const modified = (): Date =>
    new Date(Date.UTC(2024, random.below(12), 1 + random.below(28), random.below(24)));
  for (const folder of folders) volume.addFolder(folder, modified());
  const summary = { files: 0, folders: folders.length, deletedFiles: 0, fileBytes: 0 };
  for (const kind of FILE_KINDS) {
    for (let index = 0; index < kind.count; index++) {
      const path = `${kind.folder}/${kind.extension}${String(index).padStart(5, "0")}.${kind.extension}`;
      const content = kind.content(random, 1 + random.below(kind.maxBytes));
      if (random.below(10) === 0) {
        volume.addDeletedFile(path, content, modified());
        summary.deletedFiles++;
      } else {
        volume.addFile(path, content, modified());
        summary.files++;
        summary.fileBytes += content.length;
      }
      if (random.below(8) === 0) volume.skip(random.below(4 * MIB));
    }
  }
  volume.finish();
  return summary;
}

/** The first page of a Linux swap area. */
function swapHeader(length: number): Uint8Array {
  const page = new Uint8Array(4096);
  const view = new DataView(page.buffer);
  view.setUint32(1024, 1, true);
  view.setUint32(1028, length / page.length - 1, true);
  page.set(new TextEncoder().encode("SWAPSPACE2"), page.length - 10);
  return page;
}
