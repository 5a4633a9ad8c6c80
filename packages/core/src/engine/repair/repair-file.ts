/**
 * The only way to the image file for a repair. What any reference of the image reaches is neither overwritten nor put to
 * another use: a structure is changed in place only where it is the one user of its clusters, and what is new goes behind
 * the end of the file, where no reference leads, however damaged; in a file that cannot grow, to where none leads inside.
 */
import { assert, Qcow2Error } from "../../errors.ts";
import { roundUp } from "../../format/geometry.ts";
import { SECTOR_SIZE } from "../../limits.ts";
import type { Storage } from "../../storage/storage.ts";
import { ClusterSet } from "../cluster-set.ts";
import { noSpace } from "../fixed-size.ts";
import type { ImageLayout, TableLocation } from "../image-layout.ts";
import type { ClusterUse, ClusterUses } from "./cluster-uses.ts";
import { findUses } from "./find-uses.ts";

/** What a repair writes to where it is. */
export type RepairedStructure = "header" | "l1-table" | "l2-table" | "refcounts";

const METADATA: readonly ClusterUse[] = ["l1-table", "l2-table", "refcounts", "directory", "fixed"];

export class RepairFile {
  /** For reading only. */
  readonly storage: Storage;
  /** Bytes of the file before the repair, rounded up to a sector: what a reference leads to behind it is nothing. */
  readonly originalSize: number;
  readonly clusterSize: number;
  readonly #target: Storage;
  readonly #signal: AbortSignal | undefined;
  readonly #new = new ClusterSet();
  readonly #size: number;
  #keepsInside = false;
  #uses: ClusterUses;
  /** Clusters from here on are not in the file yet. */
  #end: number;

  private constructor(options: {
    readonly target: Storage;
    readonly uses: ClusterUses;
    readonly clusterSize: number;
    readonly size: number;
    readonly signal: AbortSignal | undefined;
  }) {
    const { target, size, clusterSize } = options;
    this.storage = readOnlyView(target);
    this.originalSize = roundUp(size, SECTOR_SIZE);
    this.clusterSize = clusterSize;
    this.#target = target;
    this.#signal = options.signal;
    this.#uses = options.uses;
    this.#size = size;
    this.#end = Math.ceil(size / clusterSize);
  }

  /**
   * Looks at all references first.
   * @throws Qcow2Error "io" if some cannot be read
   */
  static async open(
    target: Storage,
    layout: ImageLayout,
    signal: AbortSignal | undefined,
  ): Promise<RepairFile> {
    const { clusterSize } = layout.geometry;
    const uses = await findUses(target, layout, signal);
    return new RepairFile({ target, uses, clusterSize, size: await target.size(), signal });
  }

  /** Looks at all references again, when structures have moved: that may have made others the only users of their clusters. */
  async renew(layout: ImageLayout): Promise<void> {
    this.#uses = await findUses(this.storage, layout, this.#signal);
    this.#end = Math.max(this.#end, Math.ceil((await this.storage.size()) / this.clusterSize));
  }

  /** True if a cluster has users that know nothing of each other. */
  get hasOverlaps(): boolean {
    return this.#uses.hasOverlaps;
  }

  /** True if a table was in the file as a whole before the repair, but for the rest of the file's last cluster. */
  wasWhole({ offset, length }: TableLocation): boolean {
    return offset + length <= roundUp(this.originalSize, this.clusterSize);
  }

  /** True if the structure is the only user of all clusters that it touches: it may be changed where it is. */
  isAlone(structure: RepairedStructure | "directory", { offset, length }: TableLocation): boolean {
    return this.#uses.areOnly(structure, ...this.#clustersOf(offset, length));
  }

  /** True if one of the clusters of a range is also used as one of these. */
  isUsedAs(uses: readonly ClusterUse[], { offset, length }: TableLocation): boolean {
    return this.#uses.areAny(uses, ...this.#clustersOf(offset, length));
  }

  /**
   * Changes a structure where it is, in whole sectors: a power cut leaves each of them as it was or as it has to be.
   * `offset` is where it begins. Returns false if nothing had to be changed.
   * @throws Qcow2Error "needs-repair" if something else is in its clusters: then nothing is written
   */
  async change(
    structure: RepairedStructure,
    offset: number,
    { before, after }: { readonly before: Uint8Array; readonly after: Uint8Array },
  ): Promise<boolean> {
    let isChanged = false;
    for (let at = 0; at < after.length; at += SECTOR_SIZE) {
      const sector = after.subarray(at, at + SECTOR_SIZE);
      if (sector.every((byte, index) => byte === before[at + index])) continue;
      if (!isChanged) this.#assertAlone(structure, { offset, length: after.length });
      await this.#target.write(offset + at, sector);
      isChanged = true;
    }
    return isChanged;
  }

  /** Writes a part of the header, or all of its cluster. @throws Qcow2Error "needs-repair" */
  async writeHeader(offset: number, bytes: Uint8Array): Promise<void> {
    assert(offset + bytes.length <= this.clusterSize, "a header lies in the first cluster");
    this.#assertAlone("header", { offset: 0, length: this.clusterSize });
    await this.#target.write(offset, bytes);
  }

  /** The first cluster where something new may be: behind the end of the file; in a file that cannot grow, anywhere. */
  get roomStart(): number {
    return this.#target.fixedSize === true ? 1 : this.#end;
  }

  /** Where references were noted. */
  get uses(): ClusterUses {
    return this.#uses;
  }

  /**
   * The first of `count` clusters in a row to which nothing refers, from `from` on, which is not before {@link roomStart}.
   * @throws Qcow2Error "needs-repair" if references lead everywhere, "io" with ENOSPC if a storage of fixed size is full
   */
  findRoom(from: number, count: number): number {
    const isFixed = this.#target.fixedSize === true;
    if (isFixed && this.#keepsInside) {
      throw new Qcow2Error(
        "needs-repair",
        "Part of the image cannot be read, and what looks free may be its own: there is no room to repair the image in. " +
          "It was left as it is",
        { state: "corrupt" },
      );
    }
    const first = this.#uses.firstUnused(from, count);
    if (isFixed && (first === undefined || first + count > Math.floor(this.#size / this.clusterSize))) {
      throw noSpace(this.storage.name);
    }
    if (first === undefined) {
      throw new Qcow2Error(
        "needs-repair",
        "There is no room behind the end of the file to which no damaged reference leads; the image was left as it is",
        { state: "corrupt" },
      );
    }
    return first;
  }

  /** Takes clusters that {@link findRoom} found. */
  take(first: number, count: number): void {
    for (let cluster = first; cluster < first + count; cluster++) this.#new.add(cluster);
    if (this.#target.fixedSize === true) this.#uses.add("fixed", first, first + count);
    else this.#end = Math.max(this.#end, first + count);
  }

  /** Takes `count` clusters in a row to which nothing refers; returns the offset of the first. @throws as `findRoom` */
  reserve(count: number): number {
    const first = this.findRoom(this.roomStart, count);
    this.take(first, count);
    return first * this.clusterSize;
  }

  /**
   * Something of the image cannot be read: nobody knows what it refers to, and nothing inside the file counts as free.
   */
  keepInside(): void {
    this.#keepsInside = true;
  }

  /** Makes the last cluster of the file whole if metadata is in it, of which a part would else not be there. */
  async completeLastCluster(): Promise<void> {
    const size = await this.storage.size();
    const whole = roundUp(size, this.clusterSize);
    const last = { offset: whole - this.clusterSize, length: this.clusterSize };
    if (whole === size || this.#target.fixedSize === true || !this.isUsedAs(METADATA, last)) return;
    await this.#target.truncate(whole);
  }

  /** Writes to clusters that {@link reserve} gave. */
  async writeNew(offset: number, bytes: Uint8Array): Promise<void> {
    const [first, end] = this.#clustersOf(offset, bytes.length);
    for (let cluster = first; cluster < end; cluster++) {
      assert(this.#new.firstIn(cluster, cluster + 1) !== undefined, "a repair writes to clusters of its own");
    }
    await this.#target.write(offset, bytes);
  }

  /** Writes to new clusters, the rest of the last one as zeroes; returns where. */
  async append(bytes: Uint8Array): Promise<number> {
    const clusters = Math.max(1, Math.ceil(bytes.length / this.clusterSize));
    const whole = new Uint8Array(clusters * this.clusterSize);
    whole.set(bytes);
    const offset = this.reserve(clusters);
    await this.writeNew(offset, whole);
    return offset;
  }

  /** Gives the file its length from before the repair; only for whoever has referred to nothing new yet. */
  async cutBack(size: number): Promise<void> {
    assert(roundUp(size, SECTOR_SIZE) >= this.originalSize, "nothing is cut off that was not new");
    if (this.#target.fixedSize !== true) await this.#target.truncate(size);
  }

  async flush(): Promise<void> {
    await this.#target.flush();
  }

  #clustersOf(offset: number, length: number): [first: number, end: number] {
    return [Math.floor(offset / this.clusterSize), Math.ceil((offset + length) / this.clusterSize)];
  }

  #assertAlone(structure: RepairedStructure, location: TableLocation): void {
    if (this.isAlone(structure, location)) return;
    throw new Qcow2Error(
      "needs-repair",
      `Something else is in the place of the ${structure} at host offset ${location.offset}, and would be overwritten by ` +
        "repairing it; it was left as it is",
      { state: "corrupt" },
    );
  }
}

/** Steps of a repair read through this, and have no other way to write than the file's. */
function readOnlyView(storage: Storage): Storage {
  const refuse = (): Promise<never> => Promise.reject(new Error("a repair writes through its RepairFile"));
  return {
    name: storage.name,
    readOnly: true,
    size: () => storage.size(),
    read: (offset, into) => storage.read(offset, into),
    write: refuse,
    truncate: refuse,
    flush: () => storage.flush(),
    close: refuse,
  };
}
