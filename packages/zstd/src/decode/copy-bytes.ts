/** Copying within the output, as matches do, and into it, as literals do. */

/** From this length on, the engine's own copy is faster than a loop. */
const LONG = 48;

/** `source` has the bytes, and may have some more. */
export function copyLiterals(
  output: Uint8Array,
  at: number,
  { bytes, from, length }: { readonly bytes: Uint8Array; readonly from: number; readonly length: number },
): void {
  if (length >= LONG) {
    output.set(bytes.subarray(from, from + length), at);
    return;
  }
  for (let index = 0; index < length; index++) output[at + index] = bytes[from + index] as number;
}

/** Copies `length` bytes that lie `offset` bytes before `at`; where they overlap, what was copied is copied again. */
export function copyMatch(output: Uint8Array, at: number, offset: number, length: number): void {
  if (length >= LONG && offset >= length) {
    output.copyWithin(at, at - offset, at - offset + length);
    return;
  }
  if (length >= LONG && offset === 1) {
    output.fill(output[at - 1] as number, at, at + length);
    return;
  }
  const end = at + length;
  for (let index = at; index < end; index++) output[index] = output[index - offset] as number;
}
