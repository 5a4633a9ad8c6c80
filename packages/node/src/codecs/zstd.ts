/** Zstandard of one cluster (RFC 8878): node:zlib where it has it, else the decoder of `@qcow2/zstd`. */
import { decompress, readFrame, type ZstdFrame } from "@qcow2/zstd";
import { type NativeZstd, ZSTD_COMPRESSION_LEVEL, ZSTD_END } from "./node-zlib.ts";
import { ReusedStream } from "./reused-stream.ts";

/** libzstd's own default, and QEMU's. */
const DEFAULT_LEVEL = 3;
/** With more room than the output needs, libzstd is asked once. */
const SPARE_BYTES = 1024;

const PROBE: Uint8Array = new TextEncoder().encode("qcow2 qcow2");
const PROBE_ROOM = 64;

/** Compresses `input` into `output`, which has room for it; returns the bytes written. */
export type ZstdInto = (input: Uint8Array, output: Uint8Array) => number;

/** A compressor for many clusters. `level` is zstd's, 1 (fast) to 22 (small). */
export function createZstd(native: NativeZstd, level: number | undefined): ZstdInto {
  const stream = ReusedStream.create(
    {
      make: () => native.createCompress({ params: { [ZSTD_COMPRESSION_LEVEL]: level ?? DEFAULT_LEVEL } }),
      resets: false,
    },
    (candidate) => {
      const output = new Uint8Array(PROBE_ROOM);
      const result = candidate.run(ZSTD_END, PROBE, output);
      if (result?.inputLeft !== 0 || result.outputLeft === 0) return false;
      return isProbe(native.decompress(output.subarray(0, PROBE_ROOM - result.outputLeft), {}));
    },
  );
  return (input, output) => {
    // Given all of its input at once, zstd records the size, so that a reader needs no larger window than the cluster.
    const result = stream?.run(ZSTD_END, input, output);
    if (result?.inputLeft === 0 && result.outputLeft > 0) return output.length - result.outputLeft;
    const compressed = compressZstdCluster(native, input, level);
    output.set(compressed);
    return compressed.length;
  };
}

let decoding: { readonly stream: ReusedStream | undefined } | undefined;

/** As {@link decompressZstdCluster}, into `output`, which the cluster fills. */
export function decompressZstdInto(
  native: NativeZstd | undefined,
  input: Uint8Array,
  output: Uint8Array,
): void {
  if (native === undefined) decompress(input, { into: output, ignoreRest: true });
  else if (!decodeWholeFrame(native, input, output)) {
    output.set(decompressZstdCluster(native, input, output.length));
  }
}

/** The usual case, by a stream that is used again: one frame that states the cluster's size. False for anything else. */
function decodeWholeFrame(native: NativeZstd, input: Uint8Array, output: Uint8Array): boolean {
  decoding ??= {
    stream: ReusedStream.create({ make: () => native.createDecompress({}), resets: true }, (stream) =>
      decodesProbe(native, stream),
    ),
  };
  if (decoding.stream === undefined) return false;
  const frame = readFrame(input, 0);
  if (frame.kind !== "data" || frame.contentSize !== output.length) return false;
  const result = decoding.stream.run(ZSTD_END, input.subarray(0, frame.end), output);
  return result?.inputLeft === 0 && result.outputLeft === 0;
}

function decodesProbe(native: NativeZstd, stream: ReusedStream): boolean {
  const output = new Uint8Array(PROBE.length);
  const result = stream.run(ZSTD_END, compressZstdCluster(native, PROBE, undefined), output);
  return result?.inputLeft === 0 && result.outputLeft === 0 && isProbe(output);
}

function isProbe(bytes: Uint8Array): boolean {
  return bytes.length === PROBE.length && PROBE.every((byte, index) => bytes[index] === byte);
}

/** Compresses one cluster into one frame. `level` is zstd's, 1 (fast) to 22 (small). */
export function compressZstdCluster(
  native: NativeZstd,
  input: Uint8Array,
  level: number | undefined,
): Uint8Array {
  return native.compress(input, {
    params: { [ZSTD_COMPRESSION_LEVEL]: level ?? DEFAULT_LEVEL },
    // Recorded in the frame, so that a reader needs no larger window than the cluster.
    pledgedSrcSize: input.length,
    chunkSize: input.length + SPARE_BYTES,
  });
}

/**
 * Decompresses one cluster of exactly `length` bytes: whole frames, one after the other, until the cluster is full.
 * What follows belongs to something else and is not looked at.
 * @throws Error if the data is damaged, ends early, or its last frame decodes to more than fits
 */
export function decompressZstdCluster(
  native: NativeZstd | undefined,
  input: Uint8Array,
  length: number,
): Uint8Array {
  const output = new Uint8Array(length);
  if (native === undefined) {
    decompress(input, { into: output, ignoreRest: true });
    return output;
  }
  let done = 0;
  for (let at = 0; done < length; ) {
    const frame = readFrame(input, at);
    if (frame.kind === "data") {
      const bytes = decodeFrame(native, input, at, frame, length - done);
      if (done === 0 && bytes.length === length) return bytes;
      output.set(bytes, done);
      done += bytes.length;
    }
    at = frame.end;
  }
  return output;
}

function decodeFrame(
  native: NativeZstd,
  input: Uint8Array,
  start: number,
  frame: ZstdFrame,
  room: number,
): Uint8Array {
  if (frame.contentSize !== undefined && frame.contentSize > room) {
    throw new Error(`zstd frame of ${frame.contentSize} bytes where ${room} are expected`);
  }
  const bytes = native.decompress(input.subarray(start, frame.end), {
    maxOutputLength: Math.max(room, 1),
    chunkSize: room + SPARE_BYTES,
  });
  if (bytes.length !== (frame.contentSize ?? bytes.length) || bytes.length > room) {
    throw new Error("zstd frame that does not decode to the size it states");
  }
  return bytes;
}
