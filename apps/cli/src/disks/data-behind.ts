/** What a smaller size would destroy. */
import type { Disk } from "@qcow2/core";
import { humanSize } from "../output/human-size.ts";

/** "nothing is stored" or "N MiB are stored": what the image itself, and not a backing file, has from byte `size` on. */
export async function describeDataBehind(disk: Disk, size: number): Promise<string> {
  let stored = 0;
  for await (const { kind, depth, length } of disk.map({ offset: size, length: disk.size - size })) {
    if (kind === "data" && depth === 0) stored += length;
  }
  return stored === 0 ? "nothing is stored" : `${humanSize(stored)} are stored`;
}
