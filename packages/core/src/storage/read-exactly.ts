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
  throw truncated(structure, offset, into.length, await storage.size());
}

/**
 * The `length` bytes at `offset`, for lengths that an image claims: no memory is taken for more than there is.
 * @throws Qcow2Error as {@link readExactly}
 */
export async function readPresent(
  storage: Storage,
  { offset, length }: { readonly offset: number; readonly length: number },
  structure: string,
): Promise<Uint8Array<ArrayBuffer>> {
  assertPosition(offset, length, structure);
  const fileSize = await storage.size();
  if (offset + length > fileSize) throw truncated(structure, offset, length, fileSize);
  const bytes = new Uint8Array(length);
  await readExactly(storage, offset, bytes, structure);
  return bytes;
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

function truncated(structure: string, offset: number, length: number, fileSize: number): Qcow2Error {
  return new Qcow2Error(
    "truncated",
    `${structure} (${length} bytes at offset ${offset}) lies beyond the end of the file (${fileSize} bytes)`,
    { structure, offset, length, fileSize },
  );
}
