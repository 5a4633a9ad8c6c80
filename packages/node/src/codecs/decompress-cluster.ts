import type { CompressionType } from "@qcow2/core";
import { inflateInto } from "./deflate.ts";
import { nativeZstd } from "./node-zlib.ts";
import { decompressZstdInto } from "./zstd.ts";

/**
 * Decompresses one cluster, which fills `output`, on this thread. The promise is for deflate streams that go on behind
 * the cluster, which take longer.
 * @throws Error if the data is damaged or ends early; `output` then holds anything
 */
export function decompressInto(
  type: CompressionType,
  input: Uint8Array,
  output: Uint8Array,
): void | Promise<void> {
  if (type === "zlib") return inflateInto(input, output);
  decompressZstdInto(nativeZstd(), input, output);
}
