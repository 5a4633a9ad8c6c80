/** Loops over bytes in native code, in the shape in which `@qcow2/convert` takes them: three to five times its own. */
import { Buffer } from "node:buffer";

/** Zeroes to compare with; longer ranges are compared piece by piece. */
const ZEROES: Buffer = Buffer.alloc(65536);

export const bufferPrimitives: {
  /** Memory that worker threads see, so that clusters can be compressed from it and decompressed into it. */
  allocate(bytes: number): Uint8Array;
  /** True if all of `bytes[start, end)` is zero. */
  isZero(bytes: Uint8Array, start: number, end: number): boolean;
  /** True if `first[start, end)` and `second[start, end)` hold the same bytes. */
  equal(first: Uint8Array, second: Uint8Array, start: number, end: number): boolean;
} = {
  allocate: (bytes) => new Uint8Array(new SharedArrayBuffer(bytes)),

  isZero(bytes, start, end) {
    for (let at = start; at < end; at += ZEROES.length) {
      const pieceEnd = Math.min(end, at + ZEROES.length);
      if (ZEROES.compare(bytes, at, pieceEnd, 0, pieceEnd - at) !== 0) return false;
    }
    return true;
  },

  equal(first, second, start, end) {
    const view = Buffer.from(first.buffer, first.byteOffset, first.length);
    return view.compare(second, start, end, start, end) === 0;
  },
};
