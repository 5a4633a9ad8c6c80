/** A set of host clusters, by cluster index: a bitmap of which only the pages in use exist. */

/** Clusters of one page, a bit each. */
const PAGE_CLUSTERS = 1024;
const WORD_BITS = 32;

export class ClusterSet {
  readonly #pages = new Map<number, Uint32Array>();

  add(cluster: number): void {
    const pageIndex = Math.floor(cluster / PAGE_CLUSTERS);
    let page = this.#pages.get(pageIndex);
    if (page === undefined) {
      page = new Uint32Array(PAGE_CLUSTERS / WORD_BITS);
      this.#pages.set(pageIndex, page);
    }
    const bit = cluster % PAGE_CLUSTERS;
    const word = Math.floor(bit / WORD_BITS);
    page[word] = (page[word] as number) | (1 << (bit % WORD_BITS));
  }

  delete(cluster: number): void {
    const page = this.#pages.get(Math.floor(cluster / PAGE_CLUSTERS));
    if (page === undefined) return;
    const bit = cluster % PAGE_CLUSTERS;
    const word = Math.floor(bit / WORD_BITS);
    page[word] = (page[word] as number) & ~(1 << (bit % WORD_BITS));
  }

  has(cluster: number): boolean {
    return this.firstIn(cluster, cluster + 1) !== undefined;
  }

  /** How many pages there are: what the set takes of memory. */
  get pages(): number {
    return this.#pages.size;
  }

  /** The last member before `end`; undefined if there is none. */
  lastBefore(end: number): number | undefined {
    let last: number | undefined;
    for (const [pageIndex, page] of this.#pages) {
      const start = pageIndex * PAGE_CLUSTERS;
      if (start >= end || (last !== undefined && start + PAGE_CLUSTERS <= last)) continue;
      for (let bit = Math.min(PAGE_CLUSTERS, end - start) - 1; bit >= 0; bit--) {
        if (((page[bit >>> 5] as number) & (1 << (bit & 31))) === 0) continue;
        last = Math.max(last ?? 0, start + bit);
        break;
      }
    }
    return last;
  }

  /** The first member of first .. end (exclusive); undefined if there is none. */
  firstIn(first: number, end: number): number | undefined {
    for (let cluster = first; cluster < end; ) {
      const pageIndex = Math.floor(cluster / PAGE_CLUSTERS);
      const pageEnd = Math.min((pageIndex + 1) * PAGE_CLUSTERS, end);
      const page = this.#pages.get(pageIndex);
      if (page !== undefined) {
        for (let candidate = cluster; candidate < pageEnd; candidate++) {
          const bit = candidate - pageIndex * PAGE_CLUSTERS;
          if (((page[bit >>> 5] as number) & (1 << (bit & 31))) !== 0) return candidate;
        }
      }
      cluster = pageEnd;
    }
    return undefined;
  }
}
