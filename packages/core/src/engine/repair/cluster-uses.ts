/**
 * What host clusters are used for, by everything that a table of the image refers to: the refcounts are not asked. Kinds
 * are noted, and how often only as far as it matters: a cluster of metadata belongs to one structure, guest clusters and
 * L2 tables may have any number of references.
 */

/** A byte for each cluster: a bit for each kind, and one for a second structure of a kind that has to be alone. */
const KIND_BITS = {
  header: 1,
  "l1-table": 2,
  "l2-table": 4,
  "guest-data": 8,
  /** Refcount table or block. */
  refcounts: 16,
  /** Snapshot table or bitmap directory. */
  directory: 32,
  /** What no repair moves: tables and data of bitmaps, the encryption header. */
  fixed: 64,
} as const;
const TWICE = 128;
const SHAREABLE: number = KIND_BITS["l2-table"] | KIND_BITS["guest-data"];

export type ClusterUse = keyof typeof KIND_BITS;

/** Clusters of one page. */
const PAGE_CLUSTERS = 4096;

export class ClusterUses {
  /** What is referred to from this cluster on is not noted. */
  readonly limit: number;
  readonly #pages = new Map<number, Uint8Array>();
  #hasOverlaps = false;

  constructor(limit: number) {
    this.limit = limit;
  }

  /** Notes that clusters first .. end (exclusive) are used as one structure of a kind. */
  add(use: ClusterUse, first: number, end: number): void {
    const bit = KIND_BITS[use];
    for (let cluster = first; cluster < Math.min(end, this.limit); cluster++) {
      const index = Math.floor(cluster / PAGE_CLUSTERS);
      let page = this.#pages.get(index);
      if (page === undefined) {
        page = new Uint8Array(PAGE_CLUSTERS);
        this.#pages.set(index, page);
      }
      const at = cluster % PAGE_CLUSTERS;
      const present = page[at] as number;
      const isTwice = (present & bit & ~SHAREABLE) !== 0;
      page[at] = present | bit | (isTwice ? TWICE : 0);
      this.#hasOverlaps ||= isTwice || (present & ~bit) !== 0;
    }
  }

  /** True if there is a cluster with users that know nothing of each other. */
  get hasOverlaps(): boolean {
    return this.#hasOverlaps;
  }

  /** True if all of first .. end (exclusive) are used, and as nothing else than one structure of that kind. */
  areOnly(use: ClusterUse, first: number, end: number): boolean {
    for (let cluster = first; cluster < end; cluster++) {
      if (this.#bitsOf(cluster) !== KIND_BITS[use]) return false;
    }
    return true;
  }

  /** True if one of first .. end (exclusive) is used as one of these kinds. */
  areAny(uses: readonly ClusterUse[], first: number, end: number): boolean {
    const bits = uses.reduce((sum, use) => sum | KIND_BITS[use], 0);
    for (let cluster = first; cluster < end; cluster++) {
      if ((this.#bitsOf(cluster) & bits) !== 0) return true;
    }
    return false;
  }

  /** The first of `count` clusters, from `from` on, to which nothing refers; undefined if there are none below the limit. */
  firstUnused(from: number, count: number): number | undefined {
    let first = from;
    for (let cluster = from; cluster < this.limit; cluster++) {
      if (cluster - first >= count) return first;
      if (this.#bitsOf(cluster) !== 0) first = cluster + 1;
    }
    return undefined;
  }

  /** Indexes of the groups of `size` clusters of which some is used, below cluster `end`. */
  groupsInUse(size: number, end: number): Set<number> {
    const groups = new Set<number>();
    for (const [index, page] of this.#pages) {
      const first = index * PAGE_CLUSTERS;
      for (let at = 0; at < Math.min(PAGE_CLUSTERS, end - first); at++) {
        if (page[at] !== 0) groups.add(Math.floor((first + at) / size));
      }
    }
    return groups;
  }

  #bitsOf(cluster: number): number {
    return this.#pages.get(Math.floor(cluster / PAGE_CLUSTERS))?.[cluster % PAGE_CLUSTERS] ?? 0;
  }
}
