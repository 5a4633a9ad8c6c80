/** Mistakes in repairs. */
import type { Mutation } from "../mutation.ts";

const REPAIR = "packages/core/src/engine/repair";

export const REPAIRS: readonly Mutation[] = [
  {
    name: "a repair that trusts a refcount block in which something else lies",
    file: `${REPAIR}/repair-image.ts`,
    find: "found.size > 0 && !file.hasOverlaps && [...found.keys()]",
    replace: "found.size > 0 && [...found.keys()]",
    suite: "repairs",
  },
];
