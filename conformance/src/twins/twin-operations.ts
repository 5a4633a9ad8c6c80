/** Random requests, as qemu-io commands and as calls of our engine. */
import type { Qcow2Image } from "@qcow2/core";
import type { Random } from "@qcow2/testing";
import type { TwinShape } from "./twin-shapes.ts";

export interface TwinOperation {
  readonly kind: "write" | "write-compressed" | "write-zeroes" | "unmap" | "discard";
  /** Bytes. */
  readonly offset: number;
  readonly length: number;
  /** What a write fills the range with. */
  readonly pattern: number;
}

/** Whole clusters, whole sectors or any bytes; most of it short. */
export function drawOperation(shape: TwinShape, random: Random): TwinOperation {
  const { clusterSize, size, hasDataFile } = shape;
  const kind = random.pick([
    "write",
    "write",
    "write",
    "write",
    "write-zeroes",
    "unmap",
    "discard",
    hasDataFile ? "write" : "write-compressed",
  ] as const);
  const pattern = 1 + random.below(255);
  if (kind === "write-compressed") {
    const offset = random.below(Math.floor(size / clusterSize)) * clusterSize;
    return { kind, offset, length: clusterSize, pattern };
  }
  const unit = random.pick([1, 512, clusterSize]);
  const offset = Math.floor(random.below(size) / unit) * unit;
  const longest = random.pick([unit, 4096, clusterSize, 4 * clusterSize]);
  const length = Math.max(1, Math.ceil((1 + random.below(longest)) / unit)) * unit;
  return { kind, offset, length: Math.min(length, size - offset), pattern };
}

export function ioCommand({ kind, offset, length, pattern }: TwinOperation): string {
  switch (kind) {
    case "write":
      return `write -q -P ${pattern} ${offset} ${length}`;
    case "write-compressed":
      return `write -q -c -P ${pattern} ${offset} ${length}`;
    case "write-zeroes":
      return `write -q -z ${offset} ${length}`;
    case "unmap":
      return `write -q -z -u ${offset} ${length}`;
    case "discard":
      return `discard -q ${offset} ${length}`;
  }
}

export async function applyTwin(image: Qcow2Image, operation: TwinOperation): Promise<void> {
  const { kind, offset, length, pattern } = operation;
  switch (kind) {
    case "write":
      return await image.write({ offset, from: new Uint8Array(length).fill(pattern) });
    case "write-compressed":
      return await image.writeCompressed({ offset, from: new Uint8Array(length).fill(pattern) });
    case "discard":
      return await image.discard({ offset, length });
    default:
      return await image.writeZeroes({ offset, length, unmap: kind === "unmap" });
  }
}
