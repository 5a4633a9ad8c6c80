/** Where the requests of one round go: the same for both disks. */
import type { Random } from "../disk/random.ts";
import type { EngineCase } from "./engine-results.ts";

/**
 * Offsets of `requests` requests of `options.bytes` each within a disk of `sizeBytes`: no two of them overlap, so that
 * writes under way at once leave the same bytes in any order. Random ones lie in clusters of their own as long as
 * there are enough of those; sequential ones follow each other from a place that is drawn.
 * @throws RangeError if the disk has less room
 */
export function drawOffsets(
  options: Pick<EngineCase, "order" | "bytes">,
  disk: { readonly sizeBytes: number; readonly clusterBytes: number },
  requests: number,
  random: Random,
): number[] {
  const places = Math.floor(disk.sizeBytes / options.bytes);
  if (requests > places) throw new RangeError(`a disk of ${disk.sizeBytes} bytes is too small`);
  if (options.order === "sequential") {
    const first = random.below(places - requests + 1);
    return Array.from({ length: requests }, (_, index) => (first + index) * options.bytes);
  }
  const perCluster = Math.max(1, disk.clusterBytes / options.bytes);
  const clusters = Math.floor(places / perCluster);
  if (requests > clusters) return drawDistinct(places, requests, random).map((at) => at * options.bytes);
  return drawDistinct(clusters, requests, random).map(
    (cluster) => (cluster * perCluster + random.below(perCluster)) * options.bytes,
  );
}

/** `count` different integers from 0 to `end` - 1 (Fisher and Yates' shuffle, as far as it is needed). */
function drawDistinct(end: number, count: number, random: Random): number[] {
  const all = Array.from({ length: end }, (_, index) => index);
  for (let at = 0; at < count; at++) {
    const other = at + random.below(end - at);
    [all[at], all[other]] = [all[other] as number, all[at] as number];
  }
  return all.slice(0, count);
}
