import { Qcow2Error } from "../errors.ts";
import { isExactRange } from "../format/uint64.ts";
import type { Storage } from "./storage.ts";

/**
 * Fills `into` from `offset`.
 * @throws Qcow2Error "truncated" if the storage ends first, "unsafe-offset" if no storage can have anything there;
 *   `structure` says what was being read.
 */
export async function readExactly(
  storage: Storage,
  offset: number,
  into: Uint8Array,
  structure: string,
): Promise<void> {
  assertPosition(offset, into.length, structure);
  const bytesRead = await storage.read(offset, into);
  if (bytesRead === into.length) return;
  const fileSize = await storage.size();
  throw new Qcow2Error(
    "truncated",
    `${structure} (${into.length} bytes at offset ${offset}) lies beyond the end of the file (${fileSize} bytes)`,
    { structure, offset, length: into.length, fileSize },
  );
}

/**
 * Fills `into` from `offset`; whatever lies beyond the end of the storage reads as zeroes, also where no storage can have
 * anything.
 */
export async function readOrZeroes(storage: Storage, offset: number, into: Uint8Array): Promise<void> {
  const bytesRead = isExactRange(offset, into.length) ? await storage.read(offset, into) : 0;
  if (bytesRead < into.length) into.fill(0, bytesRead);
}

/**
 * Throws if `length` bytes at `offset`, where the image says that `structure` is, are beyond all that a storage can have.
 * @throws Qcow2Error "unsafe-offset"
 */
export function assertPosition(offset: number, length: number, structure: string): void {
  if (isExactRange(offset, length)) return;
  const found = BigInt(offset);
  throw new Qcow2Error(
    "unsafe-offset",
    `${structure} (${length} bytes at offset 0x${found.toString(16)}) lies beyond 2^53 - 1`,
    { structure, found },
  );
}
