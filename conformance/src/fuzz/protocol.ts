import type { DrawOptions } from "@qcow2/testing/fuzz";
import type { SavedFind } from "./saved-finds.ts";

export type ToWorker =
  | {
      readonly kind: "batch";
      readonly seed: number;
      readonly from: number;
      readonly count: number;
      /** QEMU judges one image in so many, and makes one shape in so many; 0 for none. */
      readonly qemu: number;
      /** Make finds small. */
      readonly minimises: boolean;
    }
  | { readonly kind: "end" };

export type FromWorker =
  | { readonly kind: "began"; readonly index: number }
  | { readonly kind: "find"; readonly signature: string; readonly find: SavedFind }
  | { readonly kind: "done"; readonly figures: readonly (readonly [string, number])[] };

/** All processes draw the same. */
export function drawOptions(seed: number, qemu: number): DrawOptions {
  // A QEMU that was built without zstd makes none of these images.
  return {
    seed,
    compressionTypes: ["zlib"],
    byQemu: qemu === 0 ? 0 : SHAPES_FOR_ONE_OF_QEMU,
    qemuCompressionTypes: ["zlib", "zstd", "zstd"],
  };
}

const SHAPES_FOR_ONE_OF_QEMU = 6;
