/** A disk as an operating system leaves it, or one of the user's. */
import { generateDisk } from "../disk/generate-disk.ts";
import { formatBytes } from "../report/units.ts";
import type { InputKind } from "./input-kind.ts";

export const GENERATED_DISK: InputKind = {
  name: "disk",
  title: ({ disk, diskData }) =>
    `an operating system's disk: ${formatBytes(disk)}, of which ${formatBytes(diskData)} are data`,
  file: "disk.raw",
  format: "raw",
  content: "disk",
  needs: [],
  bytes: ({ diskData }) => diskData,
  make: async ({ path, seed, sizes, diskFile }) => {
    if (diskFile !== undefined) return;
    await generateDisk({ path, seed, size: sizes.disk, dataBytes: sizes.diskData });
  },
};
