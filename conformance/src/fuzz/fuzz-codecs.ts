import type { Codecs } from "@qcow2/core";
import { ENGINE_CODECS } from "@qcow2/testing";
import { decompress } from "@qcow2/zstd";

/** The codecs of the engine's suites, and reading zstd: only QEMU writes that here. */
export const FUZZ_CODECS: Codecs = {
  ...ENGINE_CODECS,
  zstd: {
    decompress: (input, length) => {
      const into = new Uint8Array(length);
      const { outputLength } = decompress(input, { into, ignoreRest: true });
      return into.subarray(0, outputLength);
    },
  },
};
