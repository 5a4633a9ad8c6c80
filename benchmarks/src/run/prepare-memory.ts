/** Puts the machine's memory into the same state before every run. */
import { open, rm } from "node:fs/promises";

const BLOCK_BYTES = 4 * 2 ** 20;

/**
 * Takes `bytes` of memory into use as page cache, by a file that is removed at once. Virtual machines give free memory
 * back to their host after some seconds, and to get it again takes up to ten times as long as to write into it: whoever
 * happened to run after a pause would pay for that.
 */
export async function prepareMemory(scratch: string, bytes: number): Promise<void> {
  const file = await open(scratch, "w");
  try {
    const block = Buffer.alloc(BLOCK_BYTES, 0xa5);
    for (let at = 0; at < bytes; at += BLOCK_BYTES) {
      await file.write(block, 0, Math.min(BLOCK_BYTES, bytes - at), at);
    }
  } finally {
    await file.close();
    await rm(scratch, { force: true });
  }
}
