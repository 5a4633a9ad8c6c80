/** Compresses and decompresses one cluster at a time. */
export interface ClusterCodec {
  /**
   * Decodes exactly one cluster of `length` bytes. `input` may be followed by bytes that belong to something
   * else: stored lengths are rounded up to sectors (specification: "Compressed Clusters Descriptor").
   * Throws anything if the data is damaged or decodes to another length; must never produce more than `length` bytes.
   */
  decompress(input: Uint8Array, length: number): Uint8Array | Promise<Uint8Array>;
  /** Encodes one cluster. Absent where the runtime can only decode. */
  compress?(input: Uint8Array): Uint8Array | Promise<Uint8Array>;
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
