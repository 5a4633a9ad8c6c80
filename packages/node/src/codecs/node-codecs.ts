import { availableParallelism } from "node:os";
import type { ClusterCodec, Codecs, CompressionType } from "@qcow2/core";
import { ClusterBatches } from "./cluster-batches.ts";
import { compressedBound, compressorFor } from "./compress-cluster.ts";
import { decompressInto } from "./decompress-cluster.ts";
import { namingMemory } from "./memory-error.ts";
import { nativeZstd } from "./node-zlib.ts";
import { WorkerPool } from "./worker-pool.ts";

/** The highest compression level of each library; 1 is the lowest. */
export const MAX_COMPRESSION_LEVEL: Readonly<Record<CompressionType, number>> = { zlib: 9, zstd: 22 };
/** More workers than this cost memory and win nothing: one thread has to feed them all. */
const MAX_THREADS = 256;

export interface NodeCodecsOptions {
  /**
   * Worker threads that compress and decompress; default: as many as the machine runs at once. 0 does everything on the
   * calling thread.
   */
  readonly threads?: number | undefined;
  /** Compression level, 1 (fast) to 22 (small); deflate has 9. Default: 4 with deflate, 3 with zstd. */
  readonly level?: number | undefined;
}

export interface NodeCodecs extends Codecs, AsyncDisposable {
  readonly zlib: ClusterCodec;
  /** Without `compress` on a Node.js that has no Zstandard (before 22.15, and 23.0 to 23.7). */
  readonly zstd: ClusterCodec;
  /**
   * Ends the worker threads; compressing, and decompressing many clusters at a time, is then an error ("closed"), and
   * decompressing one still works. Safe to call twice.
   */
  close(): Promise<void>;
}

/**
 * The codecs that Node.js itself has. A single cluster is decompressed on the calling thread; compressing, and
 * decompressing many clusters at a time, happens on worker threads, which start when there is work for them and never
 * keep an idle process alive. Where the host gives no thread, or a worker ends, its work is done by another one or, piece
 * by piece, on the calling thread. Both fail with Qcow2Error "out-of-memory" where there is none.
 * @throws RangeError for options out of range
 */
export function nodeCodecs(options: NodeCodecsOptions = {}): NodeCodecs {
  const threads = options.threads ?? availableParallelism();
  const { level } = options;
  assertWithin("threads", threads, 0, MAX_THREADS);
  if (level !== undefined) assertWithin("level", level, 1, MAX_COMPRESSION_LEVEL.zstd);
  const pool = new WorkerPool(Math.max(threads, 1));
  const batches = threads === 0 ? undefined : new ClusterBatches(pool, threads);
  const close = async (): Promise<void> => {
    await pool.close();
    batches?.clear();
  };
  const zlibLevel = level === undefined ? undefined : Math.min(level, MAX_COMPRESSION_LEVEL.zlib);
  return {
    zlib: { ...decoder("zlib", batches), ...encoder("zlib", zlibLevel, batches) },
    zstd: {
      ...decoder("zstd", batches),
      ...(nativeZstd() === undefined ? {} : encoder("zstd", level, batches)),
    },
    close,
    [Symbol.asyncDispose]: close,
  };
}

function decoder(type: CompressionType, batches: ClusterBatches | undefined): ClusterCodec {
  return {
    decompress: (input, length) =>
      namingMemory("decompress", () => {
        const output = new Uint8Array(length);
        return decompressInto(type, input, output)?.then(() => output) ?? output;
      }),
    ...(batches && {
      decompressAll: async (inputLength, fill, clusters) =>
        await namingMemory("decompress", () => batches.decompress(type, inputLength, fill, clusters)),
    }),
  };
}

function encoder(
  type: CompressionType,
  level: number | undefined,
  batches: ClusterBatches | undefined,
): Required<Pick<ClusterCodec, "compress">> & Pick<ClusterCodec, "compressAll"> {
  if (batches === undefined) {
    return { compress: (input) => namingMemory("compress", () => compressHere(type, level, input)) };
  }
  const compressAll = async (clusters: Uint8Array, clusterSize: number): Promise<readonly Uint8Array[]> =>
    await namingMemory("compress", () => batches.compress({ type, level }, clusters, clusterSize));
  return {
    compress: async (input) => (await compressAll(input, input.length))[0] as Uint8Array,
    compressAll,
  };
}

function compressHere(type: CompressionType, level: number | undefined, input: Uint8Array): Uint8Array {
  const output = new Uint8Array(compressedBound(input.length));
  return output.slice(0, compressorFor(type, level)(input, output));
}

function assertWithin(what: string, value: number, minimum: number, maximum: number): void {
  if (Number.isInteger(value) && value >= minimum && value <= maximum) return;
  throw new RangeError(`${what} must be an integer from ${minimum} to ${maximum}, not ${value}`);
}
