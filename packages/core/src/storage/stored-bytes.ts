import type { Storage } from "./storage.ts";

/** Bytes that lie in a storage, to be copied from there. */
export interface StoredBytes {
  readonly storage: Storage;
  /** First byte. */
  readonly offset: number;
  readonly length: number;
}

/** `from` without what lies before index `start` and from index `end` on. */
export function partOfStoredBytes({ storage, offset }: StoredBytes, start: number, end: number): StoredBytes {
  return { storage, offset: offset + start, length: end - start };
}
