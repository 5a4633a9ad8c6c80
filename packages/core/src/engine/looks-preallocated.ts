import { assertDistinctTables } from "./distinct-tables.ts";
import type { OpenImage } from "./open-image.ts";

/**
 * True if clearly more clusters are counted as used than the file occupies on its host: then data clusters were
 * reserved without being written, and asking the host for holes finds zeroes. The same estimate as QEMU's, so that
 * `map` gives the same answer.
 */
async function looksPreallocated(image: OpenImage): Promise<boolean> {
  const allocatedBytes = await image.storage.allocatedBytes?.();
  if (allocatedBytes === undefined || image.dataStorage.extentAt === undefined) return false;
  const writtenClusters = Math.floor(allocatedBytes / image.layout.geometry.clusterSize);
  const threshold = Math.max(Math.floor((writtenClusters * 10) / 9), writtenClusters + 2);
  return (await image.refcounts.countUsedClusters(threshold)) >= threshold;
}

/**
 * What a map of any range has to know of the image first: whether it looks preallocated, and that going through its
 * tables ends.
 * @throws Qcow2Error "corrupt"
 */
export async function prepareMap(image: OpenImage): Promise<boolean> {
  await assertDistinctTables(image);
  return await looksPreallocated(image);
}
