/** Want of memory, told from damaged data: the one is over when there is memory again, the other never. */

/** What this library, Node.js and its libraries call it: for a Buffer, in zlib, in setting zlib up, in libzstd, in a worker. */
const CODES: ReadonlySet<unknown> = new Set([
  "out-of-memory",
  "ERR_MEMORY_ALLOCATION_FAILED",
  "Z_MEM_ERROR",
  "ERR_ZLIB_INITIALIZATION_FAILED",
  "ZSTD_error_memory_allocation",
  "ENOMEM",
]);

/** True for whatever an allocation that failed was reported as. */
export function isOutOfMemory(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  if ("code" in error) return CODES.has(error.code);
  // V8's words for typed arrays and shared memory, which carry no code.
  return error instanceof RangeError && error.message.startsWith("Array buffer allocation failed");
}
