/** A disk that is all hole: what a tool does with nothing, in how much time. */
import { open } from "node:fs/promises";
import { formatBytes } from "../report/units.ts";
import type { InputKind } from "./input-kind.ts";

export const EMPTY_DISK: InputKind = {
  name: "empty",
  title: ({ sparse }) => `an empty disk of ${formatBytes(sparse)}`,
  file: "empty.raw",
  format: "raw",
  content: "empty",
  needs: [],
  bytes: () => 0,
  make: async ({ path, sizes }) => {
    const file = await open(path, "wx");
    try {
      await file.truncate(sizes.sparse);
    } finally {
      await file.close();
    }
  },
};
