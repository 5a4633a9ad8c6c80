import type { Disk, WritableDisk } from "@qcow2/core";
import type { BytePrimitives } from "./byte-primitives.ts";
import type { UnreadableRange } from "./salvage.ts";

/** The target has a backing file that holds part of the source already (`qemu-img convert -B`). */
export interface TargetBacking {
  /**
   * Source extents of this depth or deeper are not copied, because the target's backing file has the same content
   * there. Default 1: the target's backing file equals the source's own.
   */
  readonly sharedDepth?: number | undefined;
  /**
   * Bytes of the source's layers at that depth: beyond, where they read as zeroes only because they end, the target
   * is told so. Default: the size of the source's backing disk if `sharedDepth` is 1; without one, nothing is shared.
   */
  readonly sharedSize?: number | undefined;
  /** Bytes of the target's backing file; from there on zeroes need not be written. Default: not known. */
  readonly size?: number | undefined;
}

export interface ConvertOptions {
  readonly source: Disk;
  /** At least as large as the source. What lies beyond the source's size is not touched. */
  readonly target: WritableDisk;
  /** True if the whole target reads as zeroes: a new image or file without a backing file. */
  readonly targetIsZero: boolean;
  /** Write compressed clusters; needs a target that can, and its `clusterSize`. */
  readonly compress?: boolean | undefined;
  /**
   * Zeroes in data become holes if this many bytes or more lie together: a multiple of 512. Default 4096.
   * 0 looks for none and writes everything, the source's holes too.
   */
  readonly sparseBytes?: number | undefined;
  /** Bytes of a cluster of the target, a power of two. Default: that of a `Qcow2Image`; for other targets none. */
  readonly clusterSize?: number | undefined;
  /** Excludes `targetIsZero`. */
  readonly targetBacking?: TargetBacking | undefined;
  /** Chunks in work at a time. Default 8. Memory: this many times `chunkBytes`. */
  readonly parallel?: number | undefined;
  /** Bytes of the largest read; at least a cluster. Default 2 MiB, as in QEMU; with `compress` 512 KiB. */
  readonly chunkBytes?: number | undefined;
  /** Let the target allocate in the order in which chunks happen to be ready. Default: in the order of the disk. */
  readonly outOfOrder?: boolean | undefined;
  /**
   * Have the host copy the data of whole clusters from file to file, or let both share it, where it can; nothing looks for
   * zeroes in it then. Only from a source that is read-only. Excludes `compress` and `salvage`.
   */
  readonly copyOffload?: boolean | undefined;
  /** Most bytes of data to write in a second. Default: no limit. */
  readonly rateLimitBytesPerSecond?: number | undefined;
  /** Turn what cannot be read into zeroes, and report it, instead of giving up. */
  readonly salvage?: boolean | undefined;
  /** With `salvage`: called for each range that could not be read. */
  readonly onReadError?: ((range: UnreadableRange) => void) | undefined;
  /** Called with the bytes copied so far and the bytes that have to be; needs one more pass over the source's map. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
  /**
   * False as long as nobody looks at the progress: nothing is measured then, and `onProgress` is not called. Asked at the
   * beginning and whenever something was copied, until it is true. Default: true from the beginning.
   */
  readonly isWatched?: (() => boolean) | undefined;
  /** Aborting it makes the promise reject with the signal's reason once nothing is running any more. */
  readonly signal?: AbortSignal | undefined;
  /** Faster loops of the host. Default {@link portablePrimitives}. */
  readonly primitives?: BytePrimitives | undefined;
}

/** What a copy did. All in bytes of guest data. */
export interface ConvertResult {
  /** Into memory: not what the host copied. */
  readonly bytesRead: number;
  /** Before compression. */
  readonly bytesWritten: number;
  /** Made to read as zeroes by an operation on the target. */
  readonly bytesZeroed: number;
  /** Salvaged as zeroes because they could not be read. */
  readonly bytesUnreadable: number;
}
