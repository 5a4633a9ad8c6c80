/** Mistakes in repairs. */
import type { Mutation } from "../mutation.ts";

const REPAIR = "packages/core/src/engine/repair";

export const REPAIRS: readonly Mutation[] = [
  {
    name: "a repair that trusts a refcount block in which something else lies",
    file: `${REPAIR}/repair-image.ts`,
    find: "blocksAreSound = false;",
    replace: ";",
    suite: "repairs",
  },
];
