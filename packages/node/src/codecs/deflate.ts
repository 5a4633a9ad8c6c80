/** Raw deflate of clusters (RFC 1951) with node:zlib. */
import zlib from "node:zlib";
import { ReusedStream } from "./reused-stream.ts";

/** QEMU writes with this window, and some readers accept no larger one. */
const WRITE_WINDOW_BITS = 12;
/** The most memory for the compressor's tables, as in QEMU. */
const WRITE_MEMORY_LEVEL = 9;
/**
 * zlib's own default is 6, and QEMU's. In a window of 4 KiB that makes an operating system's disk 2 % smaller than 4
 * does, and takes more than half as long again.
 */
const DEFAULT_LEVEL = 4;
/** With a little more room than the output needs, zlib is asked once; without, it is asked again to learn that it is done. */
const SPARE_BYTES = 64;

const { Z_FINISH, Z_SYNC_FLUSH } = zlib.constants;
const PROBE: Buffer = Buffer.from("qcow2 qcow2");

/** Compresses `input` into `output`, which has room for it; returns the bytes written. */
export type DeflateInto = (input: Uint8Array, output: Uint8Array) => number;

/** A compressor for many clusters. `level` is zlib's, 1 (fast) to 9 (small). @throws RangeError for other levels */
export function createDeflate(level: number | undefined): DeflateInto {
  const options = writeOptions(level);
  const stream = ReusedStream.create(
    { make: () => zlib.createDeflateRaw({ ...options, chunkSize: SPARE_BYTES }), resets: true },
    compressesProbe,
  );
  return (input, output) => {
    const result = stream?.run(Z_FINISH, input, output);
    if (result?.inputLeft === 0 && result.outputLeft > 0) return output.length - result.outputLeft;
    const compressed = deflateCluster(input, level);
    output.set(compressed);
    return compressed.length;
  };
}

function compressesProbe(stream: ReusedStream): boolean {
  const output = new Uint8Array(SPARE_BYTES);
  const result = stream.run(Z_FINISH, PROBE, output);
  if (result?.inputLeft !== 0 || result.outputLeft === 0) return false;
  return zlib.inflateRawSync(output.subarray(0, output.length - result.outputLeft)).equals(PROBE);
}

/** Compresses one cluster. `level` is zlib's, 1 (fast) to 9 (small). */
export function deflateCluster(input: Uint8Array, level: number | undefined): Uint8Array {
  return zlib.deflateRawSync(input, { ...writeOptions(level), chunkSize: input.length + SPARE_BYTES });
}

function writeOptions(level: number | undefined): zlib.ZlibOptions {
  return {
    windowBits: WRITE_WINDOW_BITS,
    memLevel: WRITE_MEMORY_LEVEL,
    level: level ?? DEFAULT_LEVEL,
  };
}

let inflating: { readonly stream: ReusedStream | undefined } | undefined;

/**
 * Decompresses one cluster, which fills `output`. As in QEMU, only the output counts: the stream need not have ended
 * (what follows belongs to something else), and a stream that would go on is read no further.
 * @throws Error if the data is damaged or ends early
 */
export function inflateInto(input: Uint8Array, output: Uint8Array): void | Promise<void> {
  inflating ??= {
    stream: ReusedStream.create({ make: () => zlib.createInflateRaw(), resets: true }, inflatesProbe),
  };
  const result = inflating.stream?.run(Z_SYNC_FLUSH, input, output);
  if (result?.outputLeft === 0) return;
  const inflated = inflateCluster(input, output.length);
  if (!(inflated instanceof Promise)) output.set(inflated);
  else return inflated.then((bytes) => output.set(bytes));
}

function inflatesProbe(stream: ReusedStream): boolean {
  const output = Buffer.alloc(PROBE.length);
  const result = stream.run(Z_SYNC_FLUSH, deflateCluster(PROBE, undefined), output);
  return result?.outputLeft === 0 && output.equals(PROBE);
}

/** As {@link inflateInto}, by the documented functions of node:zlib. */
export function inflateCluster(input: Uint8Array, length: number): Uint8Array | Promise<Uint8Array> {
  let output: Uint8Array;
  try {
    output = zlib.inflateRawSync(input, {
      chunkSize: Math.max(length + SPARE_BYTES, SPARE_BYTES),
      maxOutputLength: length,
      finishFlush: Z_SYNC_FLUSH,
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
    finishFlush: Z_SYNC_FLUSH,
    readableHighWaterMark: 1,
  };
  return options;
}
