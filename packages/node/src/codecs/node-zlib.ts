/** What node:zlib has at run time: Zstandard arrived with Node.js 22.15 and 23.8, and older type definitions lack it. */
import zlib from "node:zlib";
import type { ZlibStream } from "./reused-stream.ts";

export interface ZstdOptions {
  readonly maxOutputLength?: number;
  readonly chunkSize?: number;
  readonly pledgedSrcSize?: number;
  /** Values by the numbers of libzstd's parameters. */
  readonly params?: Readonly<Record<number, number>>;
}

type ZstdFunction = (input: Uint8Array, options: ZstdOptions) => Uint8Array;
type ZstdStream = (options: ZstdOptions) => ZlibStream;

export interface NativeZstd {
  readonly compress: ZstdFunction;
  readonly decompress: ZstdFunction;
  readonly createCompress: ZstdStream;
  readonly createDecompress: ZstdStream;
}

/** ZSTD_c_compressionLevel. */
export const ZSTD_COMPRESSION_LEVEL = 100;
/** ZSTD_e_end: this input is all there is. */
export const ZSTD_END = 2;

/** Undefined where the runtime has no Zstandard. */
export function nativeZstd(): NativeZstd | undefined {
  const compress: unknown = Reflect.get(zlib, "zstdCompressSync");
  const decompress: unknown = Reflect.get(zlib, "zstdDecompressSync");
  const createCompress: unknown = Reflect.get(zlib, "createZstdCompress");
  const createDecompress: unknown = Reflect.get(zlib, "createZstdDecompress");
  for (const found of [compress, decompress, createCompress, createDecompress]) {
    if (typeof found !== "function") return undefined;
  }
  return {
    compress: compress as ZstdFunction,
    decompress: decompress as ZstdFunction,
    createCompress: createCompress as ZstdStream,
    createDecompress: createDecompress as ZstdStream,
  };
}
