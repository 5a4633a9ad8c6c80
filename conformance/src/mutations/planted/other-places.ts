/** Mistakes in places that had not been looked at when the suites were widened. */
import type { Mutation } from "../mutation.ts";

const ENGINE = "packages/core/src/engine";

export const OTHER_PLACES: readonly Mutation[] = [
  {
    name: "a wide range forgotten by whoever waits for a part of it",
    file: `${ENGINE}/async-lock.ts`,
    find: "if (isWithin(earlier, range)) this.#wide.delete(earlier);",
    replace: "this.#wide.delete(earlier);",
    suite: "lives",
    shape: "clusters of 512 bytes",
  },
  {
    name: "the granule that a smaller disk ends in forgotten",
    file: `${ENGINE}/bitmaps/bitmap-editor.ts`,
    find: "const kept = Math.ceil(Math.min(oldSize, virtualSize) / stored.granularity);",
    replace: "const kept = Math.floor(Math.min(oldSize, virtualSize) / stored.granularity);",
    suite: "lives",
  },
  {
    name: "the cluster that the disk ends in never given up",
    file: `${ENGINE}/discard.ts`,
    find: "const last = end === image.size ? end : roundDown(end, geometry.clusterSize);",
    replace: "const last = roundDown(end, geometry.clusterSize);",
    suite: "model",
    shape: "clusters of 4 KiB",
  },
  {
    name: "changed granules skipped behind a byte without any",
    file: `${ENGINE}/bitmaps/bitmap-tracking.ts`,
    find: "bit |= 7;",
    replace: "bit += 8;",
    suite: "lives",
    shape: "clusters of 4 KiB",
  },
  {
    name: "the last bits of a range of a bitmap taken from its first byte's mask",
    file: `${ENGINE}/bitmaps/stored-bitmap.ts`,
    find: "const tailMask = 0xff >> (7 - ((end - 1) % 8));",
    replace: "const tailMask = 0xff >> (7 - (end % 8));",
    suite: "transactions",
  },
  {
    name: "a zeroed cluster that a snapshot shares taken for the disk's own",
    file: `${ENGINE}/zero-writer.ts`,
    find: "copied: keepsCluster && old.copied,",
    replace: "copied: keepsCluster,",
    suite: "model",
    shape: "shared with a snapshot",
  },
  {
    name: "an L2 table that a smaller disk shares with a snapshot not given up",
    file: `${ENGINE}/resize/resize-tree.ts`,
    find: "if (offset !== 0) await refcounts.change(offset / clusterSize, 1, -1);",
    replace: "",
    suite: "transactions",
  },
  {
    name: "changed sectors of the L1 table that are written with what came later",
    file: `${ENGINE}/resident-table.ts`,
    find: "bytes: this.bytes.slice(start, start + SECTOR_SIZE) };",
    replace: "bytes: this.bytes.subarray(start, start + SECTOR_SIZE) };",
    suite: "power-cut",
    shape: "empty, clusters of 512 bytes",
  },
  {
    name: "the first bytes of a read that ends behind the backing file taken from its end",
    file: `${ENGINE}/guest-reader.ts`,
    find: ": backing.read({ offset, into: into.subarray(0, length) });",
    replace: ": backing.read({ offset: backing.size - length, into: into.subarray(0, length) });",
    suite: "model",
    shape: "over a shorter backing file",
  },
  {
    name: "the sectors of compressed data counted from where it begins, not from where its first sector does",
    file: "packages/core/src/format/l2-entry.ts",
    find: "(additionalSectors + 1) * COMPRESSED_SECTOR - (offset % COMPRESSED_SECTOR) };",
    replace: "(additionalSectors + 1) * COMPRESSED_SECTOR };",
    suite: "model",
    shape: "clusters of 512 bytes",
  },
];
