const WORD_BYTES = 8;

/** True if every byte is zero. Data nearly always shows itself in the first few bytes; zeroes are read by the word. */
export function isZero(bytes: Uint8Array): boolean {
  const misaligned = bytes.byteOffset % WORD_BYTES;
  const head = misaligned === 0 ? 0 : Math.min(bytes.length, WORD_BYTES - misaligned);
  const wordCount = Math.floor((bytes.length - head) / WORD_BYTES);
  const tail = head + wordCount * WORD_BYTES;
  return (
    isZeroByByte(bytes, 0, head) &&
    (wordCount === 0 || isZeroByWord(new BigInt64Array(bytes.buffer, bytes.byteOffset + head, wordCount))) &&
    isZeroByByte(bytes, tail, bytes.length)
  );
}

function isZeroByByte(bytes: Uint8Array, start: number, end: number): boolean {
  for (let index = start; index < end; index++) if (bytes[index] !== 0) return false;
  return true;
}

function isZeroByWord(words: BigInt64Array): boolean {
  for (let index = 0; index < words.length; index++) if (words[index] !== 0n) return false;
  return true;
}
