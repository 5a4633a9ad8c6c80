/** Raw deflate of one cluster (RFC 1951) with node:zlib. */
import zlib from "node:zlib";

/** QEMU writes with this window, and some readers accept no larger one. */
const WRITE_WINDOW_BITS = 12;
/** The most memory for the compressor's tables, as in QEMU. */
const WRITE_MEMORY_LEVEL = 9;
/** zlib's own default, level 6. */
const DEFAULT_LEVEL = -1;
/** With a little more room than the output needs, zlib is asked once; without, it is asked again to learn that it is done. */
const SPARE_BYTES = 64;

/** Compresses one cluster. `level` is zlib's, 1 (fast) to 9 (small). */
export function deflateCluster(input: Uint8Array, level: number | undefined): Uint8Array {
  return zlib.deflateRawSync(input, {
    windowBits: WRITE_WINDOW_BITS,
    memLevel: WRITE_MEMORY_LEVEL,
    level: level ?? DEFAULT_LEVEL,
    chunkSize: input.length + SPARE_BYTES,
  });
}

/**
 * Decompresses one cluster of exactly `length` bytes. As in QEMU, only the output counts: the stream need not have
 * ended (what follows belongs to something else), and a stream that would go on is read no further.
 * @throws Error if the data is damaged or ends early
 */
export function inflateCluster(input: Uint8Array, length: number): Uint8Array | Promise<Uint8Array> {
  let output: Uint8Array;
  try {
    output = zlib.inflateRawSync(input, {
      chunkSize: Math.max(length + SPARE_BYTES, SPARE_BYTES),
      maxOutputLength: length,
      finishFlush: zlib.constants.Z_SYNC_FLUSH,
    });
  } catch (error) {
    if (!mayGoOn(error)) throw error;
    return inflateBeginning(input, length);
  }
  if (output.length !== length) throw new Error(`decompressed to ${output.length} bytes, not ${length}`);
  return output;
}

/** True if the output did not fit, or if what follows a whole cluster could not be decoded: the beginning may be good. */
function mayGoOn(error: unknown): boolean {
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  return code === "ERR_BUFFER_TOO_LARGE" || code === "Z_DATA_ERROR";
}

/** The slow way: decodes until `length` bytes are there, and stops. */
function inflateBeginning(input: Uint8Array, length: number): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    const output = new Uint8Array(length);
    let done = 0;
    const stream = zlib.createInflateRaw(beginningOptions(length));
    stream.on("data", (chunk: Uint8Array) => {
      const piece = chunk.subarray(0, length - done);
      output.set(piece, done);
      done += piece.length;
      if (done < length) return;
      resolve(output);
      stream.destroy();
    });
    stream.on("error", reject);
    stream.on("end", () => reject(new Error(`decompressed to ${done} bytes, not ${length}`)));
    stream.end(input);
  });
}

/** One chunk is one cluster, and the next is not decoded before this one was taken: what lies behind may be garbage. */
function beginningOptions(length: number): zlib.ZlibOptions {
  const options: zlib.ZlibOptions & { readonly readableHighWaterMark: number } = {
    chunkSize: Math.max(length, SPARE_BYTES),
    finishFlush: zlib.constants.Z_SYNC_FLUSH,
    readableHighWaterMark: 1,
  };
  return options;
}
