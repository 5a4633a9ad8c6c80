/** Gives the end of the image file back to the host. */
import type { WriteContext } from "./write-context.ts";

/**
 * Cuts off the file behind the last cluster in use. All metadata must be on disk, and no other request under way.
 * Nothing is cut off where clusters were not given up, and none that anything refers to, whatever its refcount says.
 */
export async function cutOffUnusedEnd({ image, file, commit, proof }: WriteContext): Promise<void> {
  if (image.discard !== "unmap" || !commit.hasFreed || image.storage.fixedSize === true) return;
  await proof.prove(image);
  const { clusterSize } = image.layout.geometry;
  const fileSize = await image.storage.size();
  const lastSuspect = proof.lastSuspectBefore(Math.ceil(fileSize / clusterSize));
  const end = Math.max(await lastUsedCluster(image), lastSuspect) + 1;
  if (end * clusterSize >= fileSize) return;
  file.assertNoOverlap(end * clusterSize, fileSize);
  await image.storage.truncate(end * clusterSize);
}

async function lastUsedCluster({ refcounts }: WriteContext["image"]): Promise<number> {
  const { refcountsPerBlock } = refcounts.geometry;
  for (let index = refcounts.table.entries - 1; index >= 0; index--) {
    const found = await refcounts.withBlock(index, (block) => {
      if (block === undefined) return undefined;
      let last = refcountsPerBlock - 1;
      while (last >= 0 && refcounts.codec.get(block.view, last) === 0) last--;
      return last < 0 ? undefined : index * refcountsPerBlock + last;
    });
    if (found !== undefined) return found;
  }
  return 0;
}
