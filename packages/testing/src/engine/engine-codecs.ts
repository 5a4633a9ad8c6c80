/** The codecs of the engine's suites: zlib on this thread, with the two ways of many clusters at a time. */
import { deflateRawSync, inflateRawSync } from "node:zlib";
import type { Codecs } from "@qcow2/core";

export const ENGINE_CODECS: Codecs = {
  zlib: {
    decompress,
    compress,
    decompressAll: async (inputLength, fill, clusters) => {
      const input = new Uint8Array(inputLength);
      await fill(input);
      for (const { start, length, into } of clusters) {
        into.set(decompress(input.subarray(start, start + length), into.length));
      }
    },
    compressAll: async (clusters, clusterSize) => {
      const compressed: Uint8Array[] = [];
      for (let at = 0; at < clusters.length; at += clusterSize) {
        compressed.push(compress(clusters.subarray(at, at + clusterSize)));
      }
      return compressed;
    },
  },
};

function decompress(input: Uint8Array, length: number): Uint8Array {
  return inflateRawSync(input, { maxOutputLength: length });
}

function compress(input: Uint8Array): Uint8Array {
  return deflateRawSync(input, { windowBits: 12, level: 1 });
}
