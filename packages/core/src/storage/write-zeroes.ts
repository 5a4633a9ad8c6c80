import type { Storage } from "./storage.ts";

/** Zeroes are written in pieces of this size, whatever the length. */
const PIECE_BYTES: number = 1 << 20;

/**
 * Writes `length` zero bytes from `offset`: bytes that occupy space, not a hole. Once `signal` is aborted, nothing more
 * is written, and its reason is thrown.
 */
export async function writeZeroBytes(
  storage: Storage,
  offset: number,
  length: number,
  signal?: AbortSignal | undefined,
): Promise<void> {
  const zeroes = new Uint8Array(Math.min(length, PIECE_BYTES));
  for (let done = 0; done < length; done += zeroes.length) {
    signal?.throwIfAborted();
    await storage.write(offset + done, zeroes.subarray(0, Math.min(zeroes.length, length - done)));
  }
}
