import { closeSync, ftruncateSync, openSync, readSync, writeSync } from "node:fs";
import type { Disk } from "@qcow2/core";
import type { DiskModel } from "@qcow2/testing";

/** Writes a model to a sparse file of `length` bytes (its own size unless given). */
export async function writeModelTo(file: string, model: DiskModel, length: number = model.size): Promise<void> {
  const descriptor = openSync(file, "w");
  try {
    ftruncateSync(descriptor, length);
    for await (const { offset, bytes } of model.pieces()) {
      const within = bytes.subarray(0, Math.max(0, length - offset));
      if (within.some((byte) => byte !== 0)) writeSync(descriptor, within, 0, within.length, offset);
    }
  } finally {
    closeSync(descriptor);
  }
}

const CHUNK_BYTES = 2 ** 20;

/** Throws an error that names the first byte in which a disk reads differently from a raw file. */
export async function expectReadsAs(disk: Disk, file: string): Promise<void> {
  const descriptor = openSync(file, "r");
  try {
    const ours = Buffer.alloc(CHUNK_BYTES);
    const theirs = Buffer.alloc(CHUNK_BYTES);
    for (let offset = 0; offset < disk.size; offset += CHUNK_BYTES) {
      const length = Math.min(CHUNK_BYTES, disk.size - offset);
      // Poison first: a byte that a read forgets must not pass for one of the previous round.
      ours.fill(0xa5);
      await disk.read({ offset, into: ours.subarray(0, length) });
      const bytesRead = readSync(descriptor, theirs, 0, length, offset);
      if (bytesRead !== length) throw new Error(`${file} ends at ${offset + bytesRead}, the disk at ${disk.size}`);
      if (ours.compare(theirs, 0, length, 0, length) === 0) continue;
      for (let at = 0; at < length; at++) {
        if (ours[at] === theirs[at]) continue;
        throw new Error(`byte ${offset + at} reads as ${ours[at]}, QEMU reads ${theirs[at]}`);
      }
    }
    if (readSync(descriptor, theirs, 0, 1, disk.size) !== 0) throw new Error(`${file} is longer than the disk`);
  } finally {
    closeSync(descriptor);
  }
}
