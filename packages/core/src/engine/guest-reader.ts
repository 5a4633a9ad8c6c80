/** Reads guest data of one layer and everything below it. */
import type { ClusterCodec } from "../codec/codec.ts";
import type { Disk } from "../disk/disk.ts";
import { isQcow2Error, Qcow2Error } from "../errors.ts";
import { guestClusterOf } from "../format/geometry.ts";
import { readOrZeroes } from "../storage/read-exactly.ts";
import type { Storage } from "../storage/storage.ts";
import { runBounded } from "./bounded.ts";
import { type CompressedBatch, storageReads } from "./compressed-batches.ts";
import { type GuestMapping, type ResolvedExtent, residentDataOffset, resolveRange } from "./resolve.ts";

/** Storage requests of one read that are under way at once. */
const PARALLEL_REQUESTS = 16;
/** Decompressed clusters kept, so that small reads in a row decompress once. */
const DECOMPRESSED_CLUSTERS_KEPT = 4;

export interface GuestReaderOptions {
  readonly mapping: GuestMapping;
  /** The image file: tables and compressed clusters. */
  readonly storage: Storage;
  /** Where guest clusters are: the image file or the external data file. */
  readonly dataStorage: Storage;
  readonly backing: Disk | undefined;
  /** The codec of the image's compression type; undefined if none was supplied. */
  readonly codec: ClusterCodec | undefined;
  readonly compressionType: string;
}

export class GuestReader {
  readonly #options: GuestReaderOptions;
  readonly #decompressed = new Map<number, Promise<Uint8Array>>();

  constructor(options: GuestReaderOptions) {
    this.#options = options;
  }

  /** Fills `into`; the range must lie within the disk. */
  async read(offset: number, into: Uint8Array): Promise<void> {
    const { mapping, dataStorage } = this.#options;
    const end = offset + into.length;
    const hostOffset = residentDataOffset(mapping, offset, end);
    if (hostOffset !== undefined) {
      const bytesRead = await dataStorage.read(hostOffset, into);
      if (bytesRead < into.length) into.fill(0, bytesRead);
      return;
    }
    const resident: ResolvedExtent[] = [];
    const missing = resolveRange(mapping, offset, end, resident);
    const extents = missing === undefined ? resident : await this.resolve(offset, end);
    if (extents.length === 1) {
      await this.#readExtent(extents[0] as ResolvedExtent, into);
      return;
    }
    const pieceOf = (extent: ResolvedExtent): Uint8Array => {
      const start = extent.offset - offset;
      return into.subarray(start, start + extent.length);
    };
    const { decompressAll } = this.#options.codec ?? {};
    if (decompressAll === undefined) {
      await runBounded(PARALLEL_REQUESTS, extents, (extent) => this.#readExtent(extent, pieceOf(extent)));
      return;
    }
    const reads = storageReads(mapping.geometry, extents);
    // What a batch may have under way, so that all of them together keep to the bound.
    const parallel = Math.max(1, Math.floor(PARALLEL_REQUESTS / reads.length));
    await runBounded(PARALLEL_REQUESTS, reads, (read) =>
      read.kind === "compressed-batch"
        ? this.#readCompressedBatch(read, { pieceOf, decompressAll, parallel })
        : this.#readExtent(read.extent, pieceOf(read.extent)),
    );
  }

  /**
   * The extents of start .. end in this layer; loads the tables that it needs. With `enough`, the answer may end
   * early once it has so many extents.
   */
  async resolve(start: number, end: number, enough?: number): Promise<ResolvedExtent[]> {
    const { mapping } = this.#options;
    const extents: ResolvedExtent[] = [];
    const goOn = (): number | undefined => {
      const last = extents[extents.length - 1];
      const from = last === undefined ? start : last.offset + last.length;
      return resolveRange(mapping, from, end, extents, enough);
    };
    let missing = goOn();
    while (missing !== undefined) missing = await mapping.l2Slices.with(missing, goOn);
    return extents;
  }

  /** Forgets decompressed clusters: their host clusters may be used for something else from now on. */
  forgetDecompressed(): void {
    this.#decompressed.clear();
  }

  #readExtent(extent: ResolvedExtent, into: Uint8Array): Promise<void> | undefined {
    switch (extent.kind) {
      case "zero":
        into.fill(0);
        return undefined;
      case "data":
        return readOrZeroes(this.#options.dataStorage, extent.hostOffset as number, into);
      case "compressed":
        return this.#readCompressed(extent, into);
      case "unallocated":
        return this.#readBacking(extent.offset, into);
    }
  }

  /** A backing file may be shorter than the overlay; beyond its end there are zeroes. */
  #readBacking(offset: number, into: Uint8Array): Promise<void> | undefined {
    const { backing } = this.#options;
    const length = backing === undefined ? 0 : Math.max(0, Math.min(into.length, backing.size - offset));
    into.fill(0, length);
    return backing === undefined || length === 0
      ? undefined
      : backing.read({ offset, into: into.subarray(0, length) });
  }

  async #readCompressed(extent: ResolvedExtent, into: Uint8Array): Promise<void> {
    const { geometry } = this.#options.mapping;
    const clusterStart = guestClusterOf(geometry, extent.offset) * geometry.clusterSize;
    const cluster = await this.#decompressedCluster(extent, clusterStart);
    const start = extent.offset - clusterStart;
    into.set(cluster.subarray(start, start + into.length));
  }

  async #readCompressedBatch(
    { clusters, parts, inputLength }: CompressedBatch,
    options: {
      readonly pieceOf: (extent: ResolvedExtent) => Uint8Array;
      readonly decompressAll: NonNullable<ClusterCodec["decompressAll"]>;
      readonly parallel: number;
    },
  ): Promise<void> {
    const { pieceOf, decompressAll, parallel } = options;
    try {
      await decompressAll(
        inputLength,
        (input) =>
          runBounded(parallel, parts, ({ hostOffset, inputStart, length }) =>
            readOrZeroes(this.#options.storage, hostOffset, input.subarray(inputStart, inputStart + length)),
          ),
        clusters.map(({ extent, inputStart }) => ({
          start: inputStart,
          length: extent.compressedLength as number,
          into: pieceOf(extent),
        })),
      );
    } catch (error) {
      if (isQcow2Error(error) && error.code !== "closed") throw error;
      // One of them is damaged, or the threads are gone: one by one, it shows.
      for (const { extent } of clusters) await this.#readCompressed(extent, pieceOf(extent));
    }
  }

  #decompressedCluster(extent: ResolvedExtent, clusterStart: number): Promise<Uint8Array> {
    const key = extent.hostOffset as number;
    const known = this.#decompressed.get(key);
    if (known !== undefined) return known;
    const cluster = this.#decompress(extent, clusterStart);
    cluster.catch(() => {
      if (this.#decompressed.get(key) === cluster) this.#decompressed.delete(key);
    });
    if (this.#decompressed.size >= DECOMPRESSED_CLUSTERS_KEPT) {
      for (const oldest of this.#decompressed.keys()) {
        this.#decompressed.delete(oldest);
        break;
      }
    }
    this.#decompressed.set(key, cluster);
    return cluster;
  }

  async #decompress(extent: ResolvedExtent, clusterStart: number): Promise<Uint8Array> {
    const { codec, compressionType, mapping, storage } = this.#options;
    if (codec === undefined) {
      throw new Qcow2Error(
        "codec-missing",
        `No ${compressionType} codec is available to read compressed clusters`,
        {
          codec: compressionType,
          direction: "decompress",
        },
      );
    }
    const compressed = new Uint8Array(extent.compressedLength as number);
    await readOrZeroes(storage, extent.hostOffset as number, compressed);
    const { clusterSize } = mapping.geometry;
    let cause: unknown;
    try {
      const cluster = await codec.decompress(compressed, clusterSize);
      if (cluster.length === clusterSize) return cluster;
    } catch (error) {
      // It has its reason, such as no memory: the data may well be good.
      if (isQcow2Error(error)) throw error;
      cause = error;
    }
    throw new Qcow2Error(
      "decompress-failed",
      `The compressed cluster at guest offset ${clusterStart} of ${storage.name} is damaged`,
      { guestOffset: clusterStart },
      { cause },
    );
  }
}
