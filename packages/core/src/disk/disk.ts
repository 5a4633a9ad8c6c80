/** A guest range with one answer to "what is there, and where". Ranges are half-open: offset <= x < offset + length. */
export interface Extent {
  /** First guest byte. */
  readonly offset: number;
  /** Bytes; never 0. */
  readonly length: number;
  /** What a guest reads: "zero" is known to read as zeroes without looking, "data" has to be read. */
  readonly kind: "data" | "zero";
  /** True if a layer of the chain defines the content (qemu-img map: "present"); false if no layer ever wrote here. */
  readonly present: boolean;
  /** True if host bytes stand behind it (qemu-img map: "data"). A preallocated range is "zero" and stored. */
  readonly stored: boolean;
  /** The layer that answers: 0 is the disk itself, 1 its backing file, and so on. */
  readonly depth: number;
  /** Where the first byte lies in that layer's data storage; undefined if nowhere or compressed. */
  readonly hostOffset: number | undefined;
  readonly compressed: boolean;
}

/** A half-open range of guest bytes; `length` defaults to everything up to the end of the disk. */
export interface DiskRange {
  readonly offset?: number;
  readonly length?: number;
}

/** A virtual disk as a guest sees it. Converting, comparing and exporting are written against this alone. */
export interface Disk {
  /** The format's name in QEMU's language: "raw", "qcow2". */
  readonly format: string;
  /** What to call it in messages. */
  readonly name: string;
  /** Virtual size in bytes. */
  readonly size: number;
  readonly readOnly: boolean;

  /**
   * Fills `into` with guest data from `offset`.
   * @throws Qcow2Error "out-of-range" if the range does not lie within the disk.
   */
  read(request: { readonly offset: number; readonly into: Uint8Array }): Promise<void>;

  /**
   * The extents of `range` in order, without gaps, over all layers of the backing chain. Adjacent extents may
   * have equal attributes; {@link mergeExtents} joins them.
   */
  map(range?: DiskRange & { readonly signal?: AbortSignal | undefined }): AsyncIterable<Extent>;

  /** Releases everything that this disk opened, its backing files too. Safe to call twice. */
  close(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

/** A disk that can be written. Offsets and lengths are bytes and may be unaligned. */
export interface WritableDisk extends Disk {
  /** Writes all of `from` at `offset`. */
  write(request: { readonly offset: number; readonly from: Uint8Array }): Promise<void>;

  /** Makes the range read as zeroes; with `unmap`, space is given back where the format and host can do it. */
  writeZeroes(request: {
    readonly offset: number;
    readonly length: number;
    readonly unmap?: boolean | undefined;
    readonly signal?: AbortSignal | undefined;
  }): Promise<void>;

  /**
   * Says that the content of the range is not needed any more, so that its space can be given back. What is covered
   * reads as zeroes afterwards or, where the format has larger units or no way to say so, as before.
   */
  discard(request: {
    readonly offset: number;
    readonly length: number;
    readonly signal?: AbortSignal | undefined;
  }): Promise<void>;

  /**
   * Writes one whole cluster (shorter only at the end of the disk) in compressed form; data that does not shrink
   * is stored uncompressed. Absent where the format has no compression.
   */
  writeCompressed?(request: { readonly offset: number; readonly from: Uint8Array }): Promise<void>;

  /** Resolves when everything written before the call survives a power cut. */
  flush(): Promise<void>;
}
