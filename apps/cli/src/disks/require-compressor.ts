import type { Codecs, CompressionType } from "@qcow2/core";
import { CommandError } from "../errors/command-errors.ts";

/** @throws CommandError if this runtime can only decompress, before anything is written. */
export function requireCompressor(codecs: Codecs, type: CompressionType): void {
  if (codecs[type]?.compress !== undefined) return;
  throw new CommandError(
    `Compressing with ${type} needs Node.js 22.15 or newer; this is ${process.versions.node} (zlib works here)`,
  );
}
