/** A disk full of noise: nothing to leave out, nothing to compress; only bytes to move. */
import { open } from "node:fs/promises";
import { writeFully } from "../disk/generate-disk.ts";
import { Random } from "../disk/random.ts";
import { formatBytes } from "../report/units.ts";
import type { InputKind } from "./input-kind.ts";

const PIECE_BYTES = 2 ** 20;

export const FULL_DISK: InputKind = {
  name: "full",
  title: ({ full }) => `a disk full of noise: ${formatBytes(full)}`,
  file: "full.raw",
  format: "raw",
  content: "full",
  needs: [],
  bytes: ({ full }) => full,
  make: async ({ path, seed, sizes }) => {
    const random = new Random(seed, "full");
    const file = await open(path, "wx");
    try {
      const piece = new Uint8Array(PIECE_BYTES);
      for (let offset = 0; offset < sizes.full; offset += PIECE_BYTES) {
        const part = piece.subarray(0, Math.min(PIECE_BYTES, sizes.full - offset));
        random.fill(part);
        await writeFully(file, part, offset);
      }
    } finally {
      await file.close();
    }
  },
};
