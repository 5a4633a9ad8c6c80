import { availableParallelism } from "node:os";
import type { ClusterCodec, Codecs, CompressionType } from "@qcow2/core";
import { compressCluster } from "./compress-cluster.ts";
import { inflateCluster } from "./deflate.ts";
import { nativeZstd } from "./node-zlib.ts";
import { WorkerPool } from "./worker-pool.ts";
import { decompressZstdCluster } from "./zstd.ts";

/** zlib's highest level; zstd has more. */
const MAX_ZLIB_LEVEL = 9;
const MAX_LEVEL = 22;
/** More workers than this cost memory and win nothing: one thread has to feed them all. */
const MAX_THREADS = 256;

export interface NodeCodecsOptions {
  /** Worker threads that compress; default: as many as the machine runs at once. 0 compresses on the calling thread. */
  readonly threads?: number | undefined;
  /** Compression level, 1 (fast) to 22 (small); deflate has 9. Default: each library's own (6 and 3). */
  readonly level?: number | undefined;
}

export interface NodeCodecs extends Codecs, AsyncDisposable {
  readonly zlib: ClusterCodec;
  /** Without `compress` on a Node.js that has no Zstandard (before 22.15, and 23.0 to 23.7). */
  readonly zstd: ClusterCodec;
  /** Ends the worker threads; compressing is then an error ("closed"), decompressing still works. Safe to call twice. */
  close(): Promise<void>;
}

/**
 * The codecs that Node.js itself has. Decompressing is synchronous. Compressing happens on worker threads, which
 * start with the first cluster and never keep an idle process alive.
 * @throws RangeError for options out of range
 */
export function nodeCodecs(options: NodeCodecsOptions = {}): NodeCodecs {
  const threads = options.threads ?? availableParallelism();
  const { level } = options;
  assertWithin("threads", threads, 0, MAX_THREADS);
  if (level !== undefined) assertWithin("level", level, 1, MAX_LEVEL);
  const pool = new WorkerPool(Math.max(threads, 1));
  const native = nativeZstd();
  const compressor = (type: CompressionType, levelOfType: number | undefined) =>
    threads === 0
      ? (input: Uint8Array) => compressCluster(type, input, levelOfType)
      : (input: Uint8Array) => pool.compress(type, input, levelOfType);
  const zlibLevel = level === undefined ? undefined : Math.min(level, MAX_ZLIB_LEVEL);
  return {
    zlib: { decompress: inflateCluster, compress: compressor("zlib", zlibLevel) },
    zstd: {
      decompress: (input, length) => decompressZstdCluster(native, input, length),
      ...(native === undefined ? {} : { compress: compressor("zstd", level) }),
    },
    close: () => pool.close(),
    [Symbol.asyncDispose]: () => pool.close(),
  };
}

function assertWithin(what: string, value: number, minimum: number, maximum: number): void {
  if (Number.isInteger(value) && value >= minimum && value <= maximum) return;
  throw new RangeError(`${what} must be an integer from ${minimum} to ${maximum}, not ${value}`);
}
