/**
 * The two loops that touch every byte, and the memory they are in. The portable ones run at about 10 GB/s; a host that has
 * native ones (Node.js: `Buffer.compare`, three to five times faster) passes them in.
 */
export interface BytePrimitives {
  /** Memory for data on its way, such as memory that the threads of a codec see, too. Default: ordinary memory. */
  readonly allocate?: ((bytes: number) => Uint8Array) | undefined;
  /** True if all of `bytes[start, end)` is zero. */
  isZero(bytes: Uint8Array, start: number, end: number): boolean;
  /** True if `first[start, end)` and `second[start, end)` hold the same bytes. */
  equal(first: Uint8Array, second: Uint8Array, start: number, end: number): boolean;
}

const WORD_BYTES = 8;
/** Bytes looked at one by one before a view is made: data nearly always shows itself here. */
const PROBE_BYTES = 16;

/** Works wherever JavaScript does. Words are 64-bit: engines keep such loops free of bigint objects. */
export const portablePrimitives: BytePrimitives = {
  isZero(bytes, start, end) {
    const wordsStart = alignedStart(bytes, Math.min(end, start + PROBE_BYTES), end);
    if (!isZeroByByte(bytes, start, wordsStart)) return false;
    const count = Math.floor((end - wordsStart) / WORD_BYTES);
    if (count > 0 && !areZeroWords(new BigInt64Array(bytes.buffer, bytes.byteOffset + wordsStart, count))) {
      return false;
    }
    return isZeroByByte(bytes, wordsStart + count * WORD_BYTES, end);
  },

  equal(first, second, start, end) {
    const wordsStart = alignedStart(first, start, end);
    if ((second.byteOffset + wordsStart) % WORD_BYTES !== 0) return isEqualByByte(first, second, start, end);
    if (!isEqualByByte(first, second, start, wordsStart)) return false;
    const count = Math.floor((end - wordsStart) / WORD_BYTES);
    if (count > 0) {
      const a = new BigInt64Array(first.buffer, first.byteOffset + wordsStart, count);
      const b = new BigInt64Array(second.buffer, second.byteOffset + wordsStart, count);
      if (!areEqualWords(a, b)) return false;
    }
    return isEqualByByte(first, second, wordsStart + count * WORD_BYTES, end);
  },
};

/** The first index from `start` on, at most `end`, that lies on a word of the underlying buffer. */
function alignedStart(bytes: Uint8Array, start: number, end: number): number {
  const misaligned = (bytes.byteOffset + start) % WORD_BYTES;
  return misaligned === 0 ? start : Math.min(end, start + WORD_BYTES - misaligned);
}

function isZeroByByte(bytes: Uint8Array, start: number, end: number): boolean {
  for (let index = start; index < end; index++) if (bytes[index] !== 0) return false;
  return true;
}

function isEqualByByte(first: Uint8Array, second: Uint8Array, start: number, end: number): boolean {
  for (let index = start; index < end; index++) if (first[index] !== second[index]) return false;
  return true;
}

function areZeroWords(words: BigInt64Array): boolean {
  const count = words.length;
  let i = 0;
  // Eight at a time: one branch for 64 bytes doubles the speed.
  for (; i + 8 <= count; i += 8) {
    const low = words[i]! | words[i + 1]! | words[i + 2]! | words[i + 3]!;
    const high = words[i + 4]! | words[i + 5]! | words[i + 6]! | words[i + 7]!;
    if ((low | high) !== 0n) return false;
  }
  for (; i < count; i++) if (words[i] !== 0n) return false;
  return true;
}

function areEqualWords(first: BigInt64Array, second: BigInt64Array): boolean {
  const count = first.length;
  let i = 0;
  for (; i + 4 <= count; i += 4) {
    const low = (first[i]! ^ second[i]!) | (first[i + 1]! ^ second[i + 1]!);
    const high = (first[i + 2]! ^ second[i + 2]!) | (first[i + 3]! ^ second[i + 3]!);
    if ((low | high) !== 0n) return false;
  }
  for (; i < count; i++) if (first[i] !== second[i]) return false;
  return true;
}
