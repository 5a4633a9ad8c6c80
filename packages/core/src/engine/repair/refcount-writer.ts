/** Writes new refcount blocks and their table, in one pass over all counts, each block once. */
import { Qcow2Error } from "../../errors.ts";
import type { Geometry } from "../../format/geometry.ts";
import { type RefcountCodec, refcountCodec, setRefcountTableEntry } from "../../format/refcount-entry.ts";
import { viewOf } from "../../format/uint64.ts";
import type { TableLocation } from "../image-layout.ts";
import type { RefcountsPlace } from "./place-refcounts.ts";
import type { RepairFile } from "./repair-file.ts";

export class RefcountWriter {
  readonly #file: RepairFile;
  readonly #geometry: Geometry;
  readonly #codec: RefcountCodec;
  readonly #place: RefcountsPlace;
  /** Indexes of the blocks, ascending, and how many of them are written. */
  readonly #indexes: readonly number[];
  #written = 0;
  /** The block that is filled now. */
  readonly #block: Uint8Array;
  /** The new clusters themselves, ascending, and how many of them are counted. */
  readonly #own: readonly number[];
  #counted = 0;

  constructor(file: RepairFile, geometry: Geometry, place: RefcountsPlace) {
    this.#file = file;
    this.#geometry = geometry;
    this.#codec = refcountCodec(Math.log2(geometry.refcountBits));
    this.#place = place;
    this.#indexes = [...place.blocks.keys()];
    this.#block = new Uint8Array(geometry.clusterSize);
    const table = Array.from({ length: place.tableClusters }, (_, index) => place.table + index);
    this.#own = [...place.blocks.values(), ...table].sort((one, other) => one - other);
  }

  /**
   * Counts `count` references to a cluster; clusters come in ascending order.
   * @throws Qcow2Error "needs-repair" if it is one that was taken as unused: nothing refers to the new refcounts then
   */
  async set(cluster: number, count: number): Promise<void> {
    await this.#countOwnBefore(cluster);
    if (this.#own[this.#counted] === cluster) throw contradiction(cluster);
    await this.#put(cluster, count);
  }

  /** Counts the new blocks and the new table, and writes the table. */
  async finish(): Promise<TableLocation> {
    const { blocks, table, tableClusters } = this.#place;
    const { clusterSize } = this.#geometry;
    await this.#countOwnBefore(Number.POSITIVE_INFINITY);
    while (this.#written < this.#indexes.length) await this.#writeBlock();
    const bytes = new Uint8Array(tableClusters * clusterSize);
    for (const [index, cluster] of blocks) setRefcountTableEntry(viewOf(bytes), index, cluster * clusterSize);
    const offset = table * clusterSize;
    await this.#file.writeNew(offset, bytes);
    return { offset, length: bytes.length };
  }

  async #countOwnBefore(cluster: number): Promise<void> {
    for (;;) {
      const own = this.#own[this.#counted];
      if (own === undefined || own >= cluster) return;
      await this.#put(own, 1);
      this.#counted++;
    }
  }

  async #put(cluster: number, count: number): Promise<void> {
    const { refcountsPerBlock } = this.#geometry;
    const index = Math.floor(cluster / refcountsPerBlock);
    while ((this.#indexes[this.#written] ?? index) < index) await this.#writeBlock();
    if (this.#indexes[this.#written] !== index) throw contradiction(cluster);
    this.#codec.set(viewOf(this.#block), cluster % refcountsPerBlock, count);
  }

  async #writeBlock(): Promise<void> {
    const cluster = this.#place.blocks.get(this.#indexes[this.#written] as number) as number;
    await this.#file.writeNew(cluster * this.#geometry.clusterSize, this.#block);
    this.#block.fill(0);
    this.#written++;
  }
}

/** Two ways of following all references do not agree. */
function contradiction(cluster: number): Qcow2Error<"needs-repair"> {
  return new Qcow2Error(
    "needs-repair",
    `Something refers to host cluster ${cluster}, which looked unused; the image was left as it is`,
    { state: "corrupt" },
  );
}
