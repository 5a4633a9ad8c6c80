import type { StoredBytes } from "../storage/stored-bytes.ts";

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

export interface DiskReadableOptions extends DiskRange {
  /** Bytes of a chunk, at least 1; default 1 MiB. */
  readonly chunkSize?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface DiskWritableOptions {
  /** Where the first byte goes; default 0. */
  readonly offset?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface DiskResizeOptions {
  /** The new virtual size in bytes. */
  readonly size: number;
  /** Allow a smaller size: what lies behind it is lost. */
  readonly shrink?: boolean | undefined;
  /** How much is reserved for what is added. Default "off". */
  readonly preallocation?: Preallocation | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** How much is reserved: nothing, the tables, or the tables and the space for the data. */
export type Preallocation = "off" | "metadata" | "falloc" | "full";

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

  /**
   * Where the bytes of an extent of {@link map} lie; undefined if they lie nowhere just as the guest reads them. Whoever
   * uses that has to know that nobody writes to the chain meanwhile. Absent if the disk cannot tell.
   */
  storedAt?(extent: Extent): StoredBytes | undefined;

  /**
   * The bytes of the range, by default the whole disk, as a stream; {@link diskReadable} makes one from `read`. A chunk
   * is a buffer of its own, read when the stream asks for it: at most one is read ahead. Chunks end at multiples of
   * `chunkSize` on the disk. Changes made meanwhile are seen by the chunks that are read after them. Neither the end
   * of the stream nor canceling it closes the disk; an aborted `signal` makes it fail with the signal's reason.
   * @throws Qcow2Error "out-of-range"; RangeError; the reason of a `signal` that is aborted already
   */
  readable(options?: DiskReadableOptions): ReadableStream<Uint8Array<ArrayBuffer>>;

  /** Releases everything that this disk opened, its backing files too. Safe to call twice. */
  close(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

/** A disk that can be written. Offsets and lengths are bytes and may be unaligned. */
export interface WritableDisk extends Disk {
  /** Writes all of `from` at `offset`. */
  write(request: { readonly offset: number; readonly from: Uint8Array }): Promise<void>;

  /**
   * Has the host copy what lies in a storage, without its coming into this process: whole clusters of the format, where it
   * has clusters. False if the host does not (see {@link Storage.copyFrom}): then write what is read from there. Absent
   * where there is no storage to copy to.
   * @throws RangeError for parts of clusters
   */
  writeStored?(request: { readonly offset: number; readonly from: StoredBytes }): Promise<boolean>;

  /**
   * Makes the range read as zeroes; with `unmap`, space is given back where the format and host can do it. An aborted
   * `signal` makes it fail with the signal's reason; what was zeroed by then stays.
   */
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
   * Writes whole clusters (the last one shorter only at the end of the disk) in compressed form; those that do not shrink
   * are stored uncompressed. Absent where the format has no compression.
   */
  writeCompressed?(request: { readonly offset: number; readonly from: Uint8Array }): Promise<void>;

  /**
   * Changes the virtual size. What is added reads as zeroes; what lies behind a smaller size is lost, which is refused
   * without `shrink`. Absent where the size cannot change.
   * @throws Qcow2Error "invalid-option" for a size or a preallocation that the format does not have
   */
  resize?(options: DiskResizeOptions): Promise<void>;

  /**
   * A stream whose bytes go to the disk from `offset` on; {@link diskWritable} makes one from `write` and
   * `writeZeroes`. Chunks may have any size: they are gathered into pieces of up to 1 MiB, so that a chunk may be
   * accepted before it is written. Aligned 64 KiB of zeroes become `writeZeroes` with `unmap`, so that a copy is as
   * sparse as it can be. Closing the stream writes the rest and flushes the disk, but does not close it; what lies
   * behind the last byte stays as it was. A chunk that would reach beyond the end makes the stream fail with
   * "out-of-range" before any of it is written. After `abort`, a failure or an aborted `signal`, nothing more is
   * written, what was gathered included; what was written stays.
   * @throws Qcow2Error "read-only", "out-of-range"; RangeError; the reason of a `signal` that is aborted already
   */
  writable(options?: DiskWritableOptions): WritableStream<Uint8Array>;

  /** Resolves when everything written before the call survives a power cut. */
  flush(): Promise<void>;
}
