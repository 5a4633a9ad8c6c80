import type { OpenImage } from "./open-image.ts";

/**
 * True if clearly more clusters are counted as used than the file occupies on its host: then data clusters were
 * reserved without being written, and asking the host for holes finds zeroes. The same estimate as QEMU's, so that
 * `map` gives the same answer.
 */
export async function looksPreallocated(image: OpenImage): Promise<boolean> {
  const allocatedBytes = await image.storage.allocatedBytes?.();
  if (allocatedBytes === undefined || image.dataStorage.extentAt === undefined) return false;
  const writtenClusters = Math.floor(allocatedBytes / image.layout.geometry.clusterSize);
  const threshold = Math.max(Math.floor((writtenClusters * 10) / 9), writtenClusters + 2);
  return (await image.refcounts.countUsedClusters(threshold)) >= threshold;
}
