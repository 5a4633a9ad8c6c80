/** Bytes for tests, the same on every run. */

/** Bytes that no compressor shrinks. */
export function incompressible(length: number, seed: number): Buffer {
  const bytes = Buffer.alloc(length);
  let state = (seed * 2654435761 + 1) >>> 0;
  for (let index = 0; index < length; index++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    bytes[index] = state >>> 24;
  }
  return bytes;
}

/** Text, zeroes and noise in turn, as a file system's blocks are. */
export function mixed(length: number): Buffer {
  const bytes = Buffer.alloc(length);
  for (let at = 0; at < length; at += 3000) {
    const kind = (at / 3000) % 3;
    if (kind === 0) bytes.write(`block ${at} `.repeat(250), at, "latin1");
    if (kind === 1) incompressible(Math.min(2000, length - at), at + 1).copy(bytes, at);
  }
  return bytes;
}
