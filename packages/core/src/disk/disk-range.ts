import { Qcow2Error } from "../errors.ts";

/**
 * Checks that offset .. offset + length lies within a disk of `size` bytes.
 * @throws Qcow2Error "out-of-range"; RangeError if a number is no safe, non-negative integer.
 */
export function assertDiskRange(offset: number, length: number, size: number): void {
  if (!Number.isSafeInteger(offset) || !Number.isSafeInteger(length) || offset < 0 || length < 0) {
    throw new RangeError(
      `offset and length must be integers from 0 to 2^53 - 1, not ${offset} and ${length}`,
    );
  }
  if (length > size - offset) {
    throw new Qcow2Error(
      "out-of-range",
      `${length} bytes at offset ${offset} do not lie within the disk of ${size} bytes`,
      { offset, length, size },
    );
  }
}

/**
 * Checks that `bytes` is a Uint8Array, and that it lies within a disk of `size` bytes at `offset`.
 * @throws TypeError, and what {@link assertDiskRange} throws
 */
export function assertDiskBytes(offset: number, bytes: Uint8Array, size: number): void {
  assertBytes(bytes);
  assertDiskRange(offset, bytes.length, size);
}

/** Checks that `bytes` is a Uint8Array. @throws TypeError */
export function assertBytes(bytes: unknown): asserts bytes is Uint8Array {
  // Not instanceof: it may come from another realm, such as a worker's or a test runner's.
  if (!ArrayBuffer.isView(bytes) || (bytes as Uint8Array)[Symbol.toStringTag] !== "Uint8Array") {
    throw new TypeError(`a disk takes a Uint8Array, not ${describe(bytes)}`);
  }
}

function describe(value: unknown): string {
  return typeof value === "object" && value !== null
    ? (value.constructor?.name ?? "an object")
    : typeof value;
}

/** The half-open range start .. end of a map request, clipped to the disk. */
export function clipRange(
  range: { readonly offset?: number; readonly length?: number },
  size: number,
): { readonly start: number; readonly end: number } {
  const start = Math.min(range.offset ?? 0, size);
  const end = Math.min(start + (range.length ?? size - start), size);
  assertDiskRange(start, end - start, size);
  return { start, end };
}
