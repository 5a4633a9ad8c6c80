/** Zstandard of one cluster (RFC 8878): node:zlib where it has it, else the pure JavaScript decoder fzstd. */
import { Decompress } from "fzstd";
import { type NativeZstd, ZSTD_COMPRESSION_LEVEL, ZSTD_END } from "./node-zlib.ts";
import { ReusedStream } from "./reused-stream.ts";
import { xxHash64Low32 } from "./xxhash64.ts";
import { parseZstdFrame, type ZstdFrame } from "./zstd-frame.ts";

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
  if (native === undefined || !decodeWholeFrame(native, input, output)) {
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
  const frame = parseZstdFrame(input, 0);
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
  let done = 0;
  for (let at = 0; done < length; ) {
    const frame = parseZstdFrame(input, at);
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
  native: NativeZstd | undefined,
  input: Uint8Array,
  start: number,
  frame: ZstdFrame,
  room: number,
): Uint8Array {
  if (frame.contentSize !== undefined && frame.contentSize > room) {
    throw new Error(`zstd frame of ${frame.contentSize} bytes where ${room} are expected`);
  }
  const bytes =
    native === undefined
      ? decodeFrameInJavaScript(input, frame, room)
      : native.decompress(input.subarray(start, frame.end), {
          maxOutputLength: Math.max(room, 1),
          chunkSize: room + SPARE_BYTES,
        });
  if (bytes.length !== (frame.contentSize ?? bytes.length) || bytes.length > room) {
    throw new Error("zstd frame that does not decode to the size it states");
  }
  return bytes;
}

/** "Single segment, 4 bytes of content size, no checksum, no dictionary" (section 3.1.1.1.1). */
const PLAIN_HEADER = [0x28, 0xb5, 0x2f, 0xfd, 0b1010_0000];

/**
 * fzstd allocates the window that a frame claims, up to 2 GiB, and ignores the checksum. So it gets the frame's blocks
 * behind a header of ours that claims what fits, and the checksum is verified here.
 */
function decodeFrameInJavaScript(input: Uint8Array, frame: ZstdFrame, room: number): Uint8Array {
  const size = frame.contentSize ?? room;
  const blocks = input.subarray(frame.blocksStart, frame.blocksEnd);
  const plain = new Uint8Array(PLAIN_HEADER.length + 4 + blocks.length);
  plain.set(PLAIN_HEADER);
  new DataView(plain.buffer).setUint32(PLAIN_HEADER.length, size, true);
  plain.set(blocks, PLAIN_HEADER.length + 4);

  const output = new Uint8Array(size);
  let done = 0;
  const decoder = new Decompress((piece) => {
    if (piece.length > size - done) throw new Error("zstd frame that decodes to more than it states");
    output.set(piece, done);
    done += piece.length;
  });
  decoder.push(plain, true);
  const bytes = output.subarray(0, done);
  if (frame.hasChecksum) verifyChecksum(bytes, input, frame.blocksEnd);
  return bytes;
}

function verifyChecksum(bytes: Uint8Array, input: Uint8Array, at: number): void {
  const stored = new DataView(input.buffer, input.byteOffset, input.byteLength).getUint32(at, true);
  if (xxHash64Low32(bytes) !== stored) throw new Error("zstd frame whose checksum does not match");
}
