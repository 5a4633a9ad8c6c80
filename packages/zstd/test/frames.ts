/** Contents to compress, the `zstd` tool to compress them with, and frames made by hand. */
import { spawnSync } from "node:child_process";

/** True where there is a `zstd` tool. */
export const hasZstdTool: boolean = spawnSync("zstd", ["--version"]).status === 0;

/** One frame of the tool's. */
export function compressWithTool(content: Uint8Array, options: readonly string[]): Buffer {
  const { status, stdout, stderr } = spawnSync("zstd", ["-c", ...options], {
    input: content,
    maxBuffer: 2 ** 24,
  });
  if (status !== 0) throw new Error(`zstd ${options.join(" ")}: ${stderr.toString()}`);
  return stdout;
}

/** Bytes that no compressor shrinks, the same for the same seed. */
export function noise(length: number, seed: number): Buffer {
  const random = randomIntegers(seed);
  return Buffer.from(Uint8Array.from({ length }, () => random(256)));
}

/** Integers from 0 to below `limit`, the same for the same seed. */
export function randomIntegers(seed: number): (limit: number) => number {
  let state = seed;
  return (limit) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * limit);
  };
}

/** Runs, noise, small alphabets, repetitions and letters by turns, as disks have them. */
export function drawContent(length: number, random: (limit: number) => number): Buffer {
  const bytes = Buffer.alloc(length);
  for (let at = 0; at < length; ) {
    const end = Math.min(length, at + 1 + random(random(8) === 0 ? 20000 : 400));
    const kind = random(5);
    const offset = 1 + random(Math.max(1, Math.min(at, random(2) === 0 ? 20 : at)));
    const alphabet = 1 + random(256);
    const filling = random(256);
    for (; at < end; at++) {
      if (kind === 0) bytes[at] = filling;
      else if (kind === 1) bytes[at] = random(256);
      else if (kind === 2) bytes[at] = random(alphabet);
      else if (kind === 3) bytes[at] = bytes[at - offset] ?? 0;
      else bytes[at] = 97 + Math.min(random(26), random(26));
    }
  }
  return bytes;
}

/** A frame in a single segment of `size` bytes, with one block that is compressed. */
export function frameOf(size: number, block: Uint8Array): Buffer {
  const header = Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0xa0, 0, 0, 0, 0, 0, 0, 0]);
  header.writeUInt32LE(size, 5);
  header.writeUIntLE((block.length << 3) | (2 << 1) | 1, 9, 3);
  return Buffer.concat([header, block]);
}
