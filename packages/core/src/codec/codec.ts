/** Where one cluster of a batch is stored, and where it goes. */
export interface StoredCluster {
  /** First byte of the compressed cluster in the batch's input. */
  readonly start: number;
  /** Bytes that may be read from there; as for {@link ClusterCodec.decompress}. */
  readonly length: number;
  /** Is filled with the whole cluster. */
  readonly into: Uint8Array;
}

/** Compresses and decompresses clusters. */
export interface ClusterCodec {
  /**
   * Decodes exactly one cluster of `length` bytes. `input` may be followed by bytes that belong to something
   * else: stored lengths are rounded up to sectors (specification: "Compressed Clusters Descriptor").
   * Throws anything but a Qcow2Error if the data is damaged or decodes to another length; must never produce more than
   * `length` bytes. A Qcow2Error ("out-of-memory") says that it failed for another reason, and is thrown as it is.
   */
  decompress(input: Uint8Array, length: number): Uint8Array | Promise<Uint8Array>;
  /** Encodes one cluster. Absent where the runtime can only decode. */
  compress?(input: Uint8Array): Uint8Array | Promise<Uint8Array>;
  /**
   * Decodes clusters on other threads. `fill` reads the `inputLength` bytes that they are in, into memory of the codec's
   * choosing. Rejects if one of them is damaged, or if `fill` does; nothing writes to the clusters' memory any more then.
   * Absent where there are no other threads.
   */
  decompressAll?(
    inputLength: number,
    fill: (input: Uint8Array) => Promise<void>,
    clusters: readonly StoredCluster[],
  ): Promise<void>;
  /**
   * Encodes clusters, on other threads: `clusters` is cut into pieces of `clusterSize` bytes (the last may be shorter),
   * and the answer has one for each, in their order. `clusters` must not change before the promise settles.
   */
  compressAll?(clusters: Uint8Array, clusterSize: number): Promise<readonly Uint8Array[]>;
}

/** The format's compression types (specification: header, compression_type), by QEMU's names. */
export type CompressionType = "zlib" | "zstd";

/** Codecs are injected, so that each platform uses the best it has. A missing one is an error only when it is needed. */
export interface Codecs {
  /** Raw deflate (RFC 1951): writers use a window of 12 bits, readers accept 15. */
  readonly zlib?: ClusterCodec | undefined;
  /** Zstandard frames (RFC 8878). */
  readonly zstd?: ClusterCodec | undefined;
}
