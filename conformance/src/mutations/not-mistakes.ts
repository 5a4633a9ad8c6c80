/**
 * Changes that look like mistakes and cannot be told from outside, each with the reason. They are no part of the planted
 * ones; where a place changes, its reason has to be looked at again.
 */
export interface NoMistake {
  readonly name: string;
  /** Of the repository. */
  readonly file: string;
  /** Occurs exactly once in the file. */
  readonly find: string;
  readonly reason: string;
}

export const NOT_MISTAKES: readonly NoMistake[] = [
  {
    name: "closing that flushes once",
    file: "packages/core/src/engine/image-requests.ts",
    find: "while (this.#hasUnflushedChanges || writers?.plain.commit.isDirty) await this.#flush();",
    reason:
      "One flush writes tables, frees what they gave up, and writes the refcounts of that; closing has waited for everybody who could change anything meanwhile.",
  },
  {
    name: "draining that forgets older epochs",
    file: "packages/core/src/engine/async-lock.ts",
    find: "this.#previous = Promise.all([this.#previous, idle])",
    reason:
      "No two drains of one kind overlap: those of writing metadata hold its mutex, a change of the whole begins with a flush that waits for it, and closing waits for the changes that drain.",
  },
  {
    name: "a freed L2 table kept in the cache",
    file: "packages/core/src/engine/write-context.ts",
    find: "dropTables(image, cluster * clusterSize, clusterSize);",
    reason:
      "Only tables that a snapshot shared are given up while the image is open. They are never changed, so never written; no L1 entry leads there any more; and a new table at that place takes the old one out.",
  },
  {
    name: "a new table that leaves the old one of that place in the cache's list",
    file: "packages/core/src/engine/table-cache.ts",
    find: "if (existing !== undefined) this.#remove(existing);",
    reason: "A freed table was dropped before its place could be allocated: there is none.",
  },
  {
    name: "the old refcount table given up before the header that left it is durable",
    file: "packages/core/src/engine/allocator.ts",
    find: "await this.#commit.barrier();",
    reason:
      "What is given up is freed behind a barrier of its own, and tables that rely on the new refcounts are written behind another: both make the header durable.",
  },
  {
    name: "an L2 table in memory that a snapshot shares taken for the disk's own",
    file: "packages/core/src/engine/l2-tables.ts",
    find: "if (!l1EntryCopied(mapping.l1.view, Math.floor(offset / mapping.geometry.l2Coverage))) return undefined;",
    reason:
      "A snapshot that shares a table shares its clusters: none of its entries has COPIED any more, and only entries with COPIED are written in place. The question asked of the L1 entry is a second lock on the same door.",
  },
  {
    name: "feature names taken out of the header in the same write that moves a name there",
    file: "packages/core/src/engine/header/write-first-cluster.ts",
    find: `    await write(0, clearing);
    await flush();`,
    reason:
      "A power cut in between leaves the old header with other text where the names of feature bits were. The table's type and length lie in the first sector, and it is the last extension: everything else is found as before, and nobody decides by those names.",
  },
  {
    name: "a compressed cluster that keeps its data bits when a part of it is zeroed",
    file: "packages/core/src/engine/zero-writer.ts",
    find: "allocBits: old.compressed ? 0 : allocBits,",
    reason:
      "A part of a compressed cluster, the one that the disk ends in included, is zeroed by writing zeroes as data. What comes here covers all of its subclusters, so that no bit is left to be kept.",
  },
];
