import type { Codecs, CompressionType } from "@qcow2/core";
import { MAX_COMPRESSION_LEVEL } from "@qcow2/node";
import { CommandError } from "../errors/command-errors.ts";

export interface CompressorRequest {
  readonly codecs: Codecs;
  readonly type: CompressionType;
  /** Undefined for the library's own. */
  readonly level: number | undefined;
}

/** @throws CommandError if this runtime can only decompress, or has no such level, before anything is written. */
export function requireCompressor({ codecs, type, level = 1 }: CompressorRequest): void {
  if (codecs[type]?.compress === undefined) {
    throw new CommandError(
      `Compressing with ${type} needs Node.js 22.15 or newer; this is ${process.versions.node} (zlib works here)`,
    );
  }
  const highest = MAX_COMPRESSION_LEVEL[type];
  if (level > highest) throw new CommandError(`The compression levels of ${type} are 1 to ${highest}`);
}
