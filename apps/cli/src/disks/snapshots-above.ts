/** Internal snapshots that read a backing file, and so change when that changes. */
import { type Disk, Qcow2Image } from "@qcow2/core";

const NAMED_AT_MOST = 3;

/**
 * A sentence about the internal snapshots of `disk` and of the backing files less than `depth` layers below it, which read
 * what lies `depth` layers below where they define nothing; undefined if there are none.
 */
export function describeSnapshotsAbove(disk: Disk, depth: number): string | undefined {
  const found: string[] = [];
  let layer: Disk | undefined = disk;
  for (let level = 0; level < depth && layer instanceof Qcow2Image; level++) {
    const { name } = layer;
    found.push(...layer.info().snapshots.map((snapshot) => `'${snapshot.name}' of '${name}'`));
    layer = layer.backing;
  }
  if (found.length === 0) return undefined;
  const named = found.slice(0, NAMED_AT_MOST).join(", ");
  const more = found.length - NAMED_AT_MOST;
  const list = more > 0 ? `${named} and ${more} more` : named;
  const [snapshots, read] = found.length === 1 ? ["snapshot", "reads"] : ["snapshots", "read"];
  return `the internal ${snapshots} ${list} ${read} the backing file as well, and would have other content afterwards`;
}
