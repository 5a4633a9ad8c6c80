/** What node:zlib has at run time: Zstandard arrived with Node.js 22.15 and 23.8, and older type definitions lack it. */
import zlib from "node:zlib";

export interface ZstdOptions {
  readonly maxOutputLength?: number;
  readonly chunkSize?: number;
  readonly pledgedSrcSize?: number;
  /** Values by the numbers of libzstd's parameters. */
  readonly params?: Readonly<Record<number, number>>;
}

type ZstdFunction = (input: Uint8Array, options: ZstdOptions) => Uint8Array;

export interface NativeZstd {
  readonly compress: ZstdFunction;
  readonly decompress: ZstdFunction;
}

/** ZSTD_c_compressionLevel. */
export const ZSTD_COMPRESSION_LEVEL = 100;

/** Undefined where the runtime has no Zstandard. */
export function nativeZstd(): NativeZstd | undefined {
  const zstdCompressSync: unknown = Reflect.get(zlib, "zstdCompressSync");
  const zstdDecompressSync: unknown = Reflect.get(zlib, "zstdDecompressSync");
  if (typeof zstdCompressSync !== "function" || typeof zstdDecompressSync !== "function") return undefined;
  return { compress: zstdCompressSync as ZstdFunction, decompress: zstdDecompressSync as ZstdFunction };
}
