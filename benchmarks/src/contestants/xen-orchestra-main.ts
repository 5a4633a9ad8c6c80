/**
 * Converts with @xen-orchestra/qcow2: `to-qcow2 SOURCE TARGET`, `to-raw SOURCE TARGET`. No more than the library asks
 * for: it reads a block at a time, in order, and what it writes is left to the operating system.
 */
import { createWriteStream } from "node:fs";
import { type FileHandle, open, stat } from "node:fs/promises";
import { pipeline } from "node:stream/promises";
import { RawDisk } from "@xen-orchestra/disk-transform";
import { QCowAccessor, toQcow2Stream } from "@xen-orchestra/qcow2";
import { writeFully } from "../disk/generate-disk.ts";

/** What its disks ask of a file system, of all that the interface has. */
type Accessor = ConstructorParameters<typeof QCowAccessor>[0];

const BLOCK_BYTES = 65536;

async function main([direction, source, target]: readonly string[]): Promise<void> {
  if (source === undefined || target === undefined) throw new Error("usage: to-qcow2|to-raw SOURCE TARGET");
  if (direction === "to-qcow2") return await toQcow2(source, target);
  if (direction === "to-raw") return await toRaw(source, target);
  throw new Error(`unknown direction '${direction}'`);
}

async function toQcow2(source: string, target: string): Promise<void> {
  const disk = new RawDisk(fileAccessor(), source, BLOCK_BYTES);
  await disk.init();
  await pipeline(toQcow2Stream(disk), createWriteStream(target));
}

async function toRaw(source: string, target: string): Promise<void> {
  const disk = new QCowAccessor(fileAccessor(), source);
  await disk.init();
  const size = disk.getVirtualSize();
  const blockBytes = disk.getBlockSize();
  const file = await open(target, "wx");
  try {
    // Closes the disk when it is through.
    for await (const { index, data } of disk.diskBlocks()) {
      const offset = index * blockBytes;
      await writeFully(file, data.subarray(0, size - offset), offset);
    }
    await file.truncate(size);
  } finally {
    await file.close();
  }
}

function fileAccessor(): Accessor {
  const files = new Map<number, FileHandle>();
  const needed: Pick<Accessor, "openFile" | "closeFile" | "read" | "getSize"> = {
    openFile: async (path) => {
      const file = await open(path);
      files.set(file.fd, file);
      return file.fd;
    },
    closeFile: async (descriptor) => {
      await files.get(descriptor)?.close();
      files.delete(descriptor);
    },
    read: async (descriptor, buffer, position) => {
      const file = files.get(Number(descriptor));
      if (file === undefined) throw new Error(`file ${descriptor} is not open`);
      const { bytesRead } = await file.read(buffer, 0, buffer.byteLength, position);
      return { bytesRead, buffer };
    },
    getSize: async (path) => (await stat(path)).size,
  };
  return needed as Accessor;
}

await main(process.argv.slice(2));
