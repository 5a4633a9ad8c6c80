import { Qcow2Error } from "../errors.ts";
import type { Storage } from "./storage.ts";

/**
 * Fills `into` from `offset`.
 * @throws Qcow2Error "truncated" if the storage ends first; `structure` says in the message what was being read.
 */
export async function readExactly(
  storage: Storage,
  offset: number,
  into: Uint8Array,
  structure: string,
): Promise<void> {
  const bytesRead = await storage.read(offset, into);
  if (bytesRead === into.length) return;
  const fileSize = await storage.size();
  throw new Qcow2Error(
    "truncated",
    `${structure} (${into.length} bytes at offset ${offset}) lies beyond the end of the file (${fileSize} bytes)`,
    { structure, offset, length: into.length, fileSize },
  );
}

/** Fills `into` from `offset`; whatever lies beyond the end of the storage reads as zeroes. */
export async function readOrZeroes(storage: Storage, offset: number, into: Uint8Array): Promise<void> {
  const bytesRead = await storage.read(offset, into);
  if (bytesRead < into.length) into.fill(0, bytesRead);
}
