/**
 * What may be believed of an image's refcounts. They are claims: before anything is reused, freed or cut off because of
 * one, all of them are held against the references, once for the time that the image is open. From then on this engine
 * keeps them itself, and what was found then stays true.
 */
import { Qcow2Error } from "../../errors.ts";
import { ClusterSet } from "../cluster-set.ts";
import type { OpenImage } from "../open-image.ts";
import { findSuspects, type Suspects } from "./find-suspects.ts";
import { tablesOf } from "./image-tables.ts";

const NOTHING_KNOWN: Suspects = { clusters: new ClusterSet(), isWhole: true, areTablesAlone: true };

export class ReferenceProof {
  #suspects: Suspects = NOTHING_KNOWN;
  #proving: Promise<void> | undefined;
  #isProved = false;
  #fileSize = 0;

  /** True once {@link prove} has succeeded. */
  get isProved(): boolean {
    return this.#isProved;
  }

  /** Some clusters have more references than their refcount says. */
  get hasSuspects(): boolean {
    return this.#suspects.clusters.pages > 0;
  }

  /**
   * Holds the refcounts against the references, the first time that it is called. Nothing may have been allocated or
   * freed before, and nothing of the tables wait to be written that says so.
   * @throws Qcow2Error "needs-repair" if the refcounts say nothing that could be relied on, "io"; the signal's reason
   */
  async prove(image: OpenImage, signal?: AbortSignal | undefined): Promise<void> {
    while (!this.#isProved) {
      const isOurs = this.#proving === undefined;
      this.#proving ??= this.#prove(image, signal).finally(() => {
        this.#proving = undefined;
      });
      try {
        await this.#proving;
      } catch (error) {
        // What somebody else has begun may have ended by that one's signal: who waited for it begins anew.
        if (isOurs) throw error;
      }
    }
  }

  /**
   * As {@link prove}, for a change that writes refcounts.
   * @throws Qcow2Error "needs-repair" if they, or the L1 table, lie where something else does, too
   */
  async proveWritable(image: OpenImage, signal?: AbortSignal | undefined): Promise<void> {
    if (!this.#isProved) await this.prove(image, signal);
    if (!this.#suspects.areTablesAlone) throw damaged();
  }

  /**
   * As {@link prove}, for a change of the metadata as a whole, which depends on all of it.
   * @throws Qcow2Error "needs-repair" if any refcount is too low, or an entry of a table is no possible one
   */
  async proveSound(image: OpenImage, signal?: AbortSignal | undefined): Promise<void> {
    if (!this.#isProved) await this.prove(image, signal);
    const { isWhole, areTablesAlone } = this.#suspects;
    if (this.hasSuspects || !isWhole || !areTablesAlone) throw damaged();
  }

  /** True if that cluster has more references than its refcount says: it is in use, and stays so. */
  isSuspect(cluster: number): boolean {
    return this.hasSuspects && this.#suspects.clusters.has(cluster);
  }

  /** True if one of the clusters that bytes start .. end (exclusive) touch is referred to, not counted, and not in the file. */
  isDangling({ layout }: OpenImage, start: number, end: number): boolean {
    if (!this.hasSuspects || end <= this.#fileSize) return false;
    const { clusterSize } = layout.geometry;
    const first = Math.max(Math.floor(start / clusterSize), Math.ceil(this.#fileSize / clusterSize));
    return this.#suspects.clusters.firstIn(first, Math.ceil(end / clusterSize)) !== undefined;
  }

  /** The last suspect cluster before `end`; -1 if there is none. */
  lastSuspectBefore(end: number): number {
    return this.#suspects.clusters.lastBefore(end) ?? -1;
  }

  async #prove(image: OpenImage, signal: AbortSignal | undefined): Promise<void> {
    const { storage, refcounts } = image;
    const { offset, bytes, view } = refcounts.table;
    const fileSize = await storage.size();
    this.#suspects = await findSuspects({
      storage,
      tables: tablesOf(image, { offset, length: bytes.length }),
      refcountTable: view,
      fileSize,
      signal,
    });
    this.#fileSize = fileSize;
    this.#isProved = true;
  }
}

function damaged(): Qcow2Error {
  return new Qcow2Error(
    "needs-repair",
    "The image's metadata is damaged, and changing it could make that worse; it was left as it is. " +
      "A check tells what is wrong",
    { state: "corrupt" },
  );
}
