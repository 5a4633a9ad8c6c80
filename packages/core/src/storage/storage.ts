import type { StoredBytes } from "./stored-bytes.ts";

/** A range of a storage that holds data or is a hole (reads as zeroes and occupies no space). */
export interface StorageExtent {
  readonly kind: "data" | "hole";
  /** First byte. */
  readonly offset: number;
  /** Bytes; never 0. */
  readonly length: number;
}

/**
 * Random-access bytes of one file or object. A storage knows nothing of disk formats.
 *
 * All offsets and lengths are bytes and safe integers; an implementation must reject anything else with a
 * `RangeError` before it reaches the host. Failures of the host are `Qcow2Error` with code "io".
 */
export interface Storage {
  /** What to call it in messages: a path, a URL, "memory". */
  readonly name: string;
  readonly readOnly: boolean;
  /** True if it can be neither longer nor shorter, as a block device; what it holds may be anything. Default false. */
  readonly fixedSize?: boolean | undefined;

  /** Current length in bytes. */
  size(): Promise<number>;

  /**
   * Reads into `into` from `offset` and returns the number of bytes read: `into.length`, or less only where the
   * storage ends (0 at or beyond its end). Bytes of `into` beyond that number are unchanged.
   */
  read(offset: number, into: Uint8Array): Promise<number>;

  /** Writes all of `from` at `offset`; beyond the end, the storage grows and any gap reads as zeroes. */
  write(offset: number, from: Uint8Array): Promise<void>;

  /** Sets the length; growth reads as zeroes. */
  truncate(size: number): Promise<void>;

  /**
   * Resolves when everything written before the call survives a power cut. A failure is final: the host may have lost
   * what was written and tells of it once, so that no flush beside or after it succeeds until the storage is opened anew
   * (`FinalFlush` does that). Images and disks keep to this whatever the storage does.
   */
  flush(): Promise<void>;

  /** Releases the host's resources. It does not flush. Safe to call twice. */
  close(): Promise<void>;

  /**
   * The extent that contains `offset` (which lies before the end), clipped to start at `offset`.
   * Absent where the host cannot tell data from holes; then everything is data.
   */
  extentAt?(offset: number): Promise<StorageExtent>;

  /** Makes `length` bytes from `offset` a hole that reads as zeroes; the size does not change. */
  punchHole?(offset: number, length: number): Promise<void>;

  /** Reserves space for `length` bytes from `offset`, growing the storage; what is there already stays. */
  allocate?(offset: number, length: number): Promise<void>;

  /**
   * Writes `from` at `offset` as {@link write} does, but without its bytes coming into this process: the host copies
   * them, or lets both files share them. False if it does not do so between these two, or if it failed: then any part of
   * them may have been written, and whoever reads and writes instead learns what is wrong, if anything is.
   */
  copyFrom?(offset: number, from: StoredBytes): Promise<boolean>;

  /** Bytes that the storage occupies on its host, as `du` would count them. */
  allocatedBytes?(): Promise<number>;
}
