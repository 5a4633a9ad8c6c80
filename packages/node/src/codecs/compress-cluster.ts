import type { CompressionType } from "@qcow2/core";
import { deflateCluster } from "./deflate.ts";
import { nativeZstd } from "./node-zlib.ts";
import { compressZstdCluster } from "./zstd.ts";

/** Compresses one cluster here and now, on whatever thread this is. */
export function compressCluster(
  type: CompressionType,
  input: Uint8Array,
  level: number | undefined,
): Uint8Array {
  if (type === "zlib") return deflateCluster(input, level);
  const native = nativeZstd();
  if (native === undefined) throw new Error("this Node.js cannot compress with zstd");
  return compressZstdCluster(native, input, level);
}
