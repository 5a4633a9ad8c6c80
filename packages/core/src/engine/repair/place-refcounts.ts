/** Where the blocks and the table of new refcounts go: to clusters that nothing refers to, wherever those are. */
import { Qcow2Error } from "../../errors.ts";
import type { Geometry } from "../../format/geometry.ts";
import { REFCOUNT_TABLE_ENTRY_BYTES } from "../../format/refcount-entry.ts";
import { MAX_REFCOUNT_TABLE_BYTES } from "../../limits.ts";
import type { RepairFile } from "./repair-file.ts";

export interface RefcountsPlace {
  /** Host cluster of each block, by its index in the table; in ascending order of indexes. */
  readonly blocks: ReadonlyMap<number, number>;
  /** First cluster of the table. */
  readonly table: number;
  readonly tableClusters: number;
}

/**
 * Takes clusters for a block for each group of clusters of which some is used, for those that count the new blocks and the
 * new table, and for a table of all of them.
 * @throws Qcow2Error "limit-exceeded" if the table would be too large; as `RepairFile.findRoom`
 */
export async function placeRefcounts(file: RepairFile, geometry: Geometry): Promise<RefcountsPlace> {
  const { clusterSize, refcountsPerBlock } = geometry;
  // Compressed data may reach into the cluster after the last.
  const end = Math.ceil((await file.storage.size()) / clusterSize) + 1;
  const used = file.uses.groupsInUse(refcountsPerBlock, end);
  let place = placeWithTable(file, { used, refcountsPerBlock, tableClusters: 1 });
  for (;;) {
    const entries = [...place.blocks.keys()].reduce((most, index) => Math.max(most, index + 1), 0);
    const needed = Math.ceil((entries * REFCOUNT_TABLE_ENTRY_BYTES) / clusterSize);
    if (needed * clusterSize > MAX_REFCOUNT_TABLE_BYTES) {
      throw new Qcow2Error("limit-exceeded", "The image is too large for a new refcount table", {
        what: "refcount table bytes",
        found: needed * clusterSize,
        maximum: MAX_REFCOUNT_TABLE_BYTES,
      });
    }
    if (needed <= place.tableClusters) break;
    place = placeWithTable(file, { used, refcountsPerBlock, tableClusters: needed });
  }
  file.take(place.table, place.tableClusters);
  for (const cluster of place.blocks.values()) file.take(cluster, 1);
  const blocks = [...place.blocks].sort(([one], [other]) => one - other);
  return { ...place, blocks: new Map(blocks) };
}

/** As it would be with a table of that many clusters; nothing is taken yet. */
function placeWithTable(
  file: RepairFile,
  options: {
    readonly used: ReadonlySet<number>;
    readonly refcountsPerBlock: number;
    readonly tableClusters: number;
  },
): RefcountsPlace {
  const { used, refcountsPerBlock, tableClusters } = options;
  const groupOf = (cluster: number): number => Math.floor(cluster / refcountsPerBlock);
  const table = file.findRoom(file.roomStart, tableClusters);
  const endTable = table + tableClusters;
  const groups = new Set(used);
  for (let group = groupOf(table); group <= groupOf(endTable - 1); group++) groups.add(group);
  const blocks = new Map<number, number>();
  let next = file.roomStart;
  // A block has to be counted, too: what is added here is met by the same loop.
  for (const group of groups) {
    let cluster = file.findRoom(next, 1);
    if (cluster >= table && cluster < endTable) cluster = file.findRoom(endTable, 1);
    next = cluster + 1;
    blocks.set(group, cluster);
    groups.add(groupOf(cluster));
  }
  return { blocks, table, tableClusters };
}
