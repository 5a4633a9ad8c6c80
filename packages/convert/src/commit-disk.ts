import { type Disk, Qcow2Error, type WritableDisk } from "@qcow2/core";
import type { BytePrimitives } from "./byte-primitives.ts";
import { checkConvertOptions } from "./check-convert-options.ts";
import { copyDisk } from "./convert-disk.ts";
import type { ConvertResult } from "./convert-options.ts";

export interface CommitOptions {
  /** The top of a chain. What its layers above `base` define is written to `base`. */
  readonly overlay: Disk;
  /** The layer of the overlay's own chain, open for writing: what the overlay reads must see what is written here. */
  readonly base: WritableDisk;
  /** How many layers `base` lies below the overlay. Default 1: it is the overlay's backing file. */
  readonly depth?: number | undefined;
  /** Chunks in work at a time. Default 8. Memory: this many times `chunkBytes`. */
  readonly parallel?: number | undefined;
  /** Bytes of the largest read; at least a cluster of the base. Default 2 MiB. */
  readonly chunkBytes?: number | undefined;
  /** Most bytes of data to write in a second. Default: no limit. */
  readonly rateLimitBytesPerSecond?: number | undefined;
  /** Called with the bytes copied so far and the bytes that have to be; needs one more pass over the overlay's map. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
  /** As for a conversion: `ConvertOptions.isWatched`. */
  readonly isWatched?: (() => boolean) | undefined;
  /** Aborting it makes the promise reject with the signal's reason once nothing is running any more. */
  readonly signal?: AbortSignal | undefined;
  /** Faster loops of the host. Default `portablePrimitives`. */
  readonly primitives?: BytePrimitives | undefined;
}

/**
 * Makes a layer below read as the overlay does, from its start to the overlay's end: what the layers above it define is
 * written to it. A shorter base grows; a longer one keeps what it has behind the overlay's end. All of it is durable when
 * the promise resolves, so that the overlay may be emptied then (`Qcow2Image.makeEmpty`). The overlay reads the same all
 * the time, whatever fails and whenever the power goes, and committing it again completes what was interrupted; the base
 * by itself, and other overlays of it, change.
 *
 * @throws Qcow2Error "unsupported" if the base cannot grow; what reading, writing and resizing throw; the signal's reason
 */
export async function commitDisk(options: CommitOptions): Promise<ConvertResult> {
  const { overlay, base, depth = 1, parallel, chunkBytes, primitives, signal } = options;
  signal?.throwIfAborted();
  const baseSize = base.size;
  // Where the base ends the overlay reads zeroes, and so it does when the base is longer.
  if (overlay.size > baseSize) await grow(base, overlay.size, signal);
  const checked = checkConvertOptions({
    source: overlay,
    target: base,
    targetIsZero: false,
    targetBacking: { sharedDepth: depth, sharedSize: baseSize, size: baseSize },
    parallel,
    chunkBytes,
    primitives,
  });
  // Zeroes that an overlay holds as data stay data, as in QEMU; what it knows to be zero takes no space.
  const result = await copyDisk({ ...checked, sparseBytes: 0, writeEverything: false }, options);
  await base.flush();
  return result;
}

async function grow(base: WritableDisk, size: number, signal: AbortSignal | undefined): Promise<void> {
  if (base.resize === undefined) {
    throw new Qcow2Error("unsupported", `'${base.name}' is shorter than the overlay, and cannot grow`, {
      operation: "resize",
    });
  }
  await base.resize({ size, signal });
}
