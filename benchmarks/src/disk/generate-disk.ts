import { open } from "node:fs/promises";
import { ContentSource } from "./content.ts";
import { planDisk } from "./disk-layout.ts";

/** Changes whenever the same seed gives another disk: results of different recipes cannot be compared. */
export const DISK_RECIPE = 1;

export interface GenerateOptions {
  /** Of the raw disk; replaced if it exists. */
  readonly path: string;
  /** 32 bits. */
  readonly seed: number;
  /** Bytes; a multiple of 4096. */
  readonly size: number;
  /** Bytes to write, zeroes included; a multiple of 4096, at most 80 % of the size. */
  readonly dataBytes: number;
}

export interface GeneratedDisk {
  /** Bytes written, by kind of content. */
  readonly writtenBytes: Readonly<Record<string, number>>;
}

const PIECE_BYTES = 2 ** 20;

/**
 * Writes a raw disk as an operating system leaves it: text, programs, compressed files, zeroes that were written, and
 * holes. The same options give the same bytes on every machine.
 */
export async function generateDisk(options: GenerateOptions): Promise<GeneratedDisk> {
  const { path, seed, size, dataBytes } = options;
  const extents = planDisk({ seed, size, dataBytes });
  const content = new ContentSource(seed);
  const writtenBytes: Record<string, number> = { text: 0, binary: 0, packed: 0, zero: 0 };
  const file = await open(path, "w");
  try {
    const piece = new Uint8Array(PIECE_BYTES);
    for (const { offset, length, kind } of extents) {
      for (let done = 0; done < length; done += PIECE_BYTES) {
        const part = piece.subarray(0, Math.min(PIECE_BYTES, length - done));
        content.fill(kind, part);
        await writeFully(file, part, offset + done);
      }
      writtenBytes[kind] = (writtenBytes[kind] ?? 0) + length;
    }
    await file.truncate(size);
  } finally {
    await file.close();
  }
  return { writtenBytes };
}

/** Writes all of `bytes` at `at`. */
export async function writeFully(
  file: Awaited<ReturnType<typeof open>>,
  bytes: Uint8Array,
  at: number,
): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    const { bytesWritten } = await file.write(bytes, done, bytes.length - done, at + done);
    done += bytesWritten;
  }
}
