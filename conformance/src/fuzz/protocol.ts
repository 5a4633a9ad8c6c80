import type { DrawOptions } from "@qcow2/testing/fuzz";
import type { SavedFind } from "./saved-finds.ts";

export type ToWorker =
  | { readonly kind: "batch"; readonly seed: number; readonly from: number; readonly count: number }
  | { readonly kind: "end" };

export type FromWorker =
  | { readonly kind: "began"; readonly index: number }
  | { readonly kind: "find"; readonly signature: string; readonly find: SavedFind }
  | { readonly kind: "done"; readonly figures: readonly (readonly [string, number])[] };

/** All processes draw the same. */
export function drawOptions(seed: number): DrawOptions {
  return { seed, compressionTypes: ["zlib"] };
}
