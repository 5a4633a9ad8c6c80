import { closeSync, ftruncateSync, openSync, writeSync } from "node:fs";
import type { DiskModel } from "@qcow2/testing";

/** Writes a model to a sparse file of `length` bytes (its own size unless given). */
export async function writeModelTo(
  file: string,
  model: DiskModel,
  length: number = model.size,
): Promise<void> {
  const descriptor = openSync(file, "w");
  try {
    ftruncateSync(descriptor, length);
    for await (const { offset, bytes } of model.pieces()) {
      const within = bytes.subarray(0, Math.max(0, length - offset));
      if (within.some((byte) => byte !== 0)) writeSync(descriptor, within, 0, within.length, offset);
    }
  } finally {
    closeSync(descriptor);
  }
}
