/** Many clusters at a time on worker threads, in memory that all threads see. */
import type { CompressionType, StoredCluster } from "@qcow2/core";
import type { CodecPiece } from "./codec-job.ts";
import { compressedBound } from "./compress-cluster.ts";
import { SharedBuffers } from "./shared-buffers.ts";
import type { WorkerPool } from "./worker-pool.ts";

/** Uncompressed bytes of a job: milliseconds of work, so that handing it over does not count, and all threads get some. */
const JOB_BYTES: number = 512 * 1024;
/** Shared buffers kept for reuse, by thread. */
const BUFFERS_PER_THREAD = 4;

export class ClusterBatches {
  readonly #pool: WorkerPool;
  readonly #buffers: SharedBuffers;

  constructor(pool: WorkerPool, threads: number) {
    this.#pool = pool;
    this.#buffers = new SharedBuffers(BUFFERS_PER_THREAD * threads);
  }

  /** See `ClusterCodec.compressAll`. */
  async compress(
    { type, level }: { readonly type: CompressionType; readonly level: number | undefined },
    clusters: Uint8Array,
    clusterSize: number,
  ): Promise<Uint8Array[]> {
    const perJob = Math.max(1, Math.floor(JOB_BYTES / clusterSize)) * clusterSize;
    const jobs: Promise<Uint8Array[]>[] = [];
    for (let start = 0; start < clusters.length; start += perJob) {
      const part = clusters.subarray(start, start + perJob);
      jobs.push(this.#compressPart({ type, level }, part, clusterSize));
    }
    return (await allSettled(jobs)).flat();
  }

  async #compressPart(
    how: { readonly type: CompressionType; readonly level: number | undefined },
    clusters: Uint8Array,
    clusterSize: number,
  ): Promise<Uint8Array[]> {
    const input = this.#share(clusters);
    const pieces: CodecPiece[] = [];
    let room = 0;
    for (let at = 0; at < clusters.length; at += clusterSize) {
      const inputLength = Math.min(clusterSize, clusters.length - at);
      const outputLength = compressedBound(inputLength);
      pieces.push({ inputStart: input.start + at, inputLength, outputStart: room, outputLength });
      room += outputLength;
    }
    try {
      return await this.#buffers.with(room, async (output) => {
        const task = { operation: "compress", ...how, input: input.buffer, output, pieces } as const;
        const lengths = await this.#pool.run(task);
        // Memory of their own: the shared one is for the next.
        return pieces.map(({ outputStart }, index) =>
          new Uint8Array(output, outputStart, lengths[index]).slice(),
        );
      });
    } finally {
      if (input.isCopy) this.#buffers.give(input.buffer);
    }
  }

  /** See `ClusterCodec.decompressAll`. */
  async decompress(
    type: CompressionType,
    inputLength: number,
    fill: (input: Uint8Array) => Promise<void>,
    clusters: readonly StoredCluster[],
  ): Promise<void> {
    const input = this.#buffers.take(inputLength);
    // If this fails, some of it may still be on its way: the buffer is not used again.
    await fill(new Uint8Array(input, 0, inputLength));
    const jobs: Promise<void>[] = [];
    for (let first = 0, end = 0; first < clusters.length; first = end) {
      for (let bytes = 0; end < clusters.length && bytes < JOB_BYTES; end++) {
        bytes += (clusters[end] as StoredCluster).into.length;
      }
      jobs.push(this.#decompressPart(type, input, clusters.slice(first, end)));
    }
    try {
      await allSettled(jobs);
    } finally {
      this.#buffers.give(input);
    }
  }

  async #decompressPart(
    type: CompressionType,
    input: SharedArrayBuffer,
    clusters: readonly StoredCluster[],
  ): Promise<void> {
    const target = sharedBufferOf(clusters);
    let room = 0;
    const pieces = clusters.map(({ start, length, into }): CodecPiece => {
      const outputStart = target === undefined ? room : into.byteOffset;
      room += into.length;
      return { inputStart: start, inputLength: length, outputStart, outputLength: into.length };
    });
    const task = { operation: "decompress", type, level: undefined, input, pieces } as const;
    if (target !== undefined) {
      await this.#pool.run({ ...task, output: target });
      return;
    }
    await this.#buffers.with(room, async (output) => {
      await this.#pool.run({ ...task, output });
      clusters.forEach(({ into }, index) => {
        into.set(new Uint8Array(output, (pieces[index] as CodecPiece).outputStart, into.length));
      });
    });
  }

  /** The bytes where workers see them: where they are already, or a copy. */
  #share(bytes: Uint8Array): {
    readonly buffer: SharedArrayBuffer;
    readonly start: number;
    readonly isCopy: boolean;
  } {
    if (bytes.buffer instanceof SharedArrayBuffer) {
      return { buffer: bytes.buffer, start: bytes.byteOffset, isCopy: false };
    }
    const buffer = this.#buffers.take(bytes.length);
    new Uint8Array(buffer).set(bytes);
    return { buffer, start: 0, isCopy: true };
  }

  /** Forgets the buffers that nobody uses. */
  clear(): void {
    this.#buffers.clear();
  }
}

/** The shared memory that all clusters go to; undefined if they go elsewhere. */
function sharedBufferOf(clusters: readonly StoredCluster[]): SharedArrayBuffer | undefined {
  const buffer = clusters[0]?.into.buffer;
  if (!(buffer instanceof SharedArrayBuffer)) return undefined;
  return clusters.every(({ into }) => into.buffer === buffer) ? buffer : undefined;
}

/** Waits for all, so that nobody works on shared memory any more, and then throws what the first failed one threw. */
async function allSettled<T>(jobs: readonly Promise<T>[]): Promise<T[]> {
  await Promise.allSettled(jobs);
  return await Promise.all(jobs);
}
