import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import type { Disk } from "@qcow2/core";

const CHUNK_BYTES = 2 ** 20;

/** Throws an error that names the first byte in which two files differ. */
export function expectSameFiles(actual: string, expected: string): void {
  const first = openSync(actual, "r");
  const second = openSync(expected, "r");
  try {
    const [actualSize, expectedSize] = [fstatSync(first).size, fstatSync(second).size];
    if (actualSize !== expectedSize) {
      throw new Error(`${actual} has ${actualSize} bytes, ${expected} has ${expectedSize}`);
    }
    const [a, b] = [Buffer.alloc(CHUNK_BYTES), Buffer.alloc(CHUNK_BYTES)];
    for (let offset = 0; offset < actualSize; offset += CHUNK_BYTES) {
      const length = readSync(first, a, 0, CHUNK_BYTES, offset);
      if (readSync(second, b, 0, CHUNK_BYTES, offset) !== length) throw new Error(`short read at ${offset}`);
      expectSameBytes(a.subarray(0, length), b.subarray(0, length), offset);
    }
  } finally {
    closeSync(first);
    closeSync(second);
  }
}

/** Throws an error that names the first byte in which a disk reads differently from a raw file. */
export async function expectReadsAs(disk: Disk, file: string): Promise<void> {
  const descriptor = openSync(file, "r");
  try {
    const [a, b] = [Buffer.alloc(CHUNK_BYTES), Buffer.alloc(CHUNK_BYTES)];
    for (let offset = 0; offset < disk.size; offset += CHUNK_BYTES) {
      const length = Math.min(CHUNK_BYTES, disk.size - offset);
      // Poison first: a byte that a read forgets must not pass for one of the previous round.
      a.fill(0xa5);
      await disk.read({ offset, into: a.subarray(0, length) });
      const bytesRead = readSync(descriptor, b, 0, length, offset);
      if (bytesRead !== length)
        throw new Error(`${file} ends at ${offset + bytesRead}, the disk at ${disk.size}`);
      expectSameBytes(a.subarray(0, length), b.subarray(0, length), offset);
    }
    if (readSync(descriptor, b, 0, 1, disk.size) !== 0) throw new Error(`${file} is longer than the disk`);
  } finally {
    closeSync(descriptor);
  }
}

function expectSameBytes(actual: Buffer, expected: Buffer, offset: number): void {
  if (actual.equals(expected)) return;
  const at = actual.findIndex((byte, index) => byte !== expected[index]);
  throw new Error(`byte ${offset + at} is ${actual[at]}, expected ${expected[at]}`);
}
