import type { CompressionType } from "@qcow2/core";
import { createDeflate } from "./deflate.ts";
import { nativeZstd } from "./node-zlib.ts";
import { createZstd } from "./zstd.ts";

/** Compresses `input` into `output`, which has room for it; returns the bytes written. */
export type CompressInto = (input: Uint8Array, output: Uint8Array) => number;

const compressors = new Map<string, CompressInto>();

/**
 * A compressor that works here and now, on whatever thread this is; the same one for the same level.
 * @throws RangeError for a level that the library does not have; Error where there is no such library
 */
export function compressorFor(type: CompressionType, level: number | undefined): CompressInto {
  const key = `${type} ${level}`;
  const known = compressors.get(key);
  if (known !== undefined) return known;
  const compressor = createCompressor(type, level);
  compressors.set(key, compressor);
  return compressor;
}

function createCompressor(type: CompressionType, level: number | undefined): CompressInto {
  if (type === "zlib") return createDeflate(level);
  const native = nativeZstd();
  if (native === undefined) throw new Error("this Node.js cannot compress with zstd");
  return createZstd(native, level);
}

/** The most bytes that a cluster of `length` bytes has after compression, with either library. */
export function compressedBound(length: number): number {
  return length + Math.ceil(length / 128) + 256;
}
