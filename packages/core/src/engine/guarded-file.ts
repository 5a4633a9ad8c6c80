/**
 * The only way to the image file for whoever writes to it. Nothing is written over metadata of another kind: an L2
 * entry or a refcount that leads there is damaged, and believing it would destroy the image.
 */
import { Qcow2Error } from "../errors.ts";
import { INCOMPATIBLE_CORRUPT } from "../format/feature-bits.ts";
import { roundDown, roundUp } from "../format/geometry.ts";
import { HEADER_INCOMPATIBLE_FEATURES_AT } from "../format/header.ts";
import { viewOf } from "../format/uint64.ts";
import { type FinalFlush, flushesOf, flushStorage } from "../storage/final-flush.ts";
import { readExactly } from "../storage/read-exactly.ts";
import { MetadataMap, type Overlap } from "./metadata-map.ts";
import type { OpenImage } from "./open-image.ts";
import type { MetadataClass } from "./overlap-classes.ts";

const NAMES: Readonly<Record<MetadataClass, string>> = {
  "main-header": "header",
  "active-l1": "active L1 table",
  "active-l2": "active L2 table",
  "refcount-table": "refcount table",
  "refcount-block": "refcount block",
  "snapshot-table": "snapshot table",
  "inactive-l1": "snapshot's L1 table",
  "inactive-l2": "snapshot's L2 table",
  "bitmap-directory": "bitmap directory",
};

export class GuardedFile {
  readonly #image: OpenImage;
  #map: MetadataMap | undefined;
  #failure: Qcow2Error | undefined;
  /** The failure is damage that was met, and marked. */
  #isDamaged = false;
  #isRetired = false;
  /** Host bytes before this are in the file, or in the cluster that it ends in. */
  #knownEnd = 0;
  /** Of the image file and of the file that guest data is in: nothing is promised for either once one has failed. */
  readonly #flushes: readonly FinalFlush[];
  #marked: Promise<void> = Promise.resolve();

  constructor(image: OpenImage) {
    this.#image = image;
    const { storage, dataStorage } = image;
    this.#flushes = Array.from(new Set([dataStorage, storage]), flushesOf);
  }

  /** Has to be called before the first write. */
  async begin(): Promise<void> {
    this.#map ??= await MetadataMap.load(this.#image, this.#image.overlapClasses);
    await this.#measure();
  }

  /** Where metadata is, for whoever moves it; known once {@link begin} was called. */
  get metadata(): MetadataMap | undefined {
    return this.#map;
  }

  /** Writes guest data, or metadata of one kind, over which writing it is no mistake. */
  async write(what: "guest-data" | MetadataClass, offset: number, from: Uint8Array): Promise<void> {
    this.assertNoOverlap(offset, offset + from.length, what === "guest-data" ? undefined : what);
    await this.#image.storage.write(offset, from);
  }

  /**
   * Writes metadata of changes that were accepted: those do not become undone because another one met damage since.
   * @throws Qcow2Error "corrupt" if other metadata is there
   */
  async writeAccepted(what: MetadataClass, offset: number, from: Uint8Array): Promise<void> {
    if (!this.#isDamaged || this.hasFailedFlush) this.assertSound();
    this.#assertFree(offset, offset + from.length, what);
    await this.#image.storage.write(offset, from);
  }

  /**
   * Throws if host bytes start .. end (exclusive) touch metadata, other than of the kind `except`. From then on
   * every change is refused, and the image is marked as corrupt.
   * @throws Qcow2Error "corrupt"
   */
  assertNoOverlap(start: number, end: number, except?: MetadataClass | undefined): void {
    this.assertSound();
    this.#assertFree(start, end, except);
  }

  #assertFree(start: number, end: number, except: MetadataClass | undefined): void {
    const overlap = this.#map?.find(start, end, except);
    if (overlap !== undefined) this.refuseDamage(overlapError(overlap));
  }

  /**
   * Makes sure that guest data may go to host bytes start .. end (exclusive), which an L2 entry names: they are in the
   * file, or refcounts know of them, as of clusters that are reserved behind the end of a short file. Anything else is
   * a damaged entry, and following it would make the file as long as that says.
   * @throws Qcow2Error "corrupt"
   */
  async assertKnown(start: number, end: number): Promise<void> {
    const { layout, refcounts } = this.#image;
    const { clusterSize } = layout.geometry;
    const first = Math.max(roundDown(start, clusterSize), this.#knownEnd);
    for (let offset = first; offset < end; offset += clusterSize) {
      const cluster = offset / clusterSize;
      const isCounted = await refcounts.withBlock(
        refcounts.blockIndexOf(cluster),
        (block) =>
          block !== undefined &&
          refcounts.codec.get(block.view, cluster % refcounts.geometry.refcountsPerBlock) > 0,
      );
      if (isCounted) continue;
      await this.#measure();
      if (end > this.#knownEnd) this.refuseDamage(leadsNowhere("L2 table", offset));
    }
  }

  /** True if {@link assertKnown} has nothing to ask for what ends there. */
  isKnown(end: number): boolean {
    return end <= this.#knownEnd;
  }

  /** From then on every change is refused for that reason, which is thrown, and the image is marked as corrupt. */
  refuseDamage(damage: Qcow2Error<"corrupt">): never {
    this.assertSound();
    this.#failure = damage;
    this.#isDamaged = true;
    this.#marked = this.#markCorrupt().catch(() => undefined);
    throw damage;
  }

  /**
   * Resolves when everything that was written to the image's files before the call survives a power cut. If that fails,
   * nobody knows what is on the disk: from then on everything is refused, with that reason.
   */
  async flush(): Promise<void> {
    for (const flushes of this.#flushes) await flushes.flush();
  }

  /** Throws if damaged metadata was met, or a flush has failed: whatever else is written could make it worse. */
  assertSound(): void {
    if (this.#failure !== undefined) throw this.#failure;
    for (const { failure } of this.#flushes) if (failure !== undefined) throw failure.error;
  }

  /** From now on everything is refused for that reason: nobody knows what the image's header says. */
  refuse(reason: unknown): void {
    this.#failure ??=
      reason instanceof Qcow2Error
        ? reason
        : new Qcow2Error("io", String(reason), {
            operation: "write to",
            name: this.#image.storage.name,
          });
  }

  /** Notes that the image has other tables from now on: whoever knows the old ones alone must not go on. */
  retire(): void {
    this.#isRetired = true;
  }

  get isRetired(): boolean {
    return this.#isRetired;
  }

  /** True once {@link assertSound} throws. */
  get isRefusing(): boolean {
    return this.#failure !== undefined || this.hasFailedFlush;
  }

  /** True once a flush has failed: no later one succeeds. */
  get hasFailedFlush(): boolean {
    return this.#flushes.some(({ failure }) => failure !== undefined);
  }

  /** Resolves when the image is marked as corrupt, if it has to be. */
  settled(): Promise<void> {
    return this.#marked;
  }

  async #measure(): Promise<void> {
    const { storage, layout } = this.#image;
    this.#knownEnd = Math.max(this.#knownEnd, roundUp(await storage.size(), layout.geometry.clusterSize));
  }

  /** Sets the corrupt bit (specification: "incompatible_features", bit 1); version 2 has none. */
  async #markCorrupt(): Promise<void> {
    const { storage, layout } = this.#image;
    if (layout.header.version < 3) return;
    const features = new Uint8Array(8);
    await readExactly(storage, HEADER_INCOMPATIBLE_FEATURES_AT, features, "Header");
    viewOf(features).setBigUint64(0, viewOf(features).getBigUint64(0) | INCOMPATIBLE_CORRUPT);
    await storage.write(HEADER_INCOMPATIBLE_FEATURES_AT, features);
    await flushStorage(storage);
  }
}

/** An entry of `structure` that leads beyond the end of the file, to a place that no refcount knows of. */
export function leadsNowhere(structure: string, offset: number, guestOffset?: number): Qcow2Error<"corrupt"> {
  return new Qcow2Error(
    "corrupt",
    `An entry of an ${structure} leads to host offset ${offset}, beyond the end of the file, where nothing was ever ` +
      "allocated: the image's metadata is damaged. It is marked as corrupt now and takes no more writes before it is repaired",
    { structure, offset, ...(guestOffset === undefined ? {} : { guestOffset }) },
  );
}

function overlapError({ metadataClass, offset }: Overlap): Qcow2Error<"corrupt"> {
  const structure = NAMES[metadataClass];
  return new Qcow2Error(
    "corrupt",
    `Refused to write over the ${structure} at host offset ${offset}: the image's metadata is damaged. ` +
      "It is marked as corrupt now and takes no more writes before it is repaired",
    { structure, offset },
  );
}
