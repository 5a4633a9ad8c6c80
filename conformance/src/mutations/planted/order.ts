/** Mistakes in the order in which things reach the disk, and in what a failure leaves. */
import type { Mutation } from "../mutation.ts";

const GUARDED = "packages/core/src/engine/guarded-file.ts";
const COMMIT = "packages/core/src/engine/metadata-commit.ts";
const GUEST_WRITER = "packages/core/src/engine/guest-writer.ts";

export const ORDER: readonly Mutation[] = [
  {
    name: "L2 tables written without waiting for the data and refcounts that they refer to",
    file: COMMIT,
    find: `await this.#barrier(isOrdered);
        await this.#writeAll("active-l2", slices);`,
    replace: `await this.#writeAll("active-l2", slices);`,
    suite: "power-cut",
  },
  {
    name: "L2 tables written before their data, even in time",
    file: GUEST_WRITER,
    find: `await writeRun(context, run, partOf(from, run.start - offset, run.end - offset));
        if (!run.inPlace) linkRun(context, slice, run);`,
    replace: `if (!run.inPlace) linkRun(context, slice, run);
        await writeRun(context, run, partOf(from, run.start - offset, run.end - offset));`,
    suite: "model",
  },
  {
    name: "refcounts decreased before the reference is removed from the disk",
    file: COMMIT,
    find: `await this.#barrier(isOrdered);
      await this.#options.reads.drain();
      await this.#applyFrees(frees);`,
    replace: `await this.#options.reads.drain();
      await this.#applyFrees(frees);`,
    suite: "power-cut",
  },
  {
    name: "a freed cluster used again at once",
    file: COMMIT,
    find: "    addToRuns(this.#pendingFrees, first, count);",
    replace: `    const { refcounts } = this.#image;
    for (let cluster = first; cluster < first + count; cluster++) {
      const block = refcounts.blocks.get(refcounts.blockOffset(refcounts.blockIndexOf(cluster)));
      if (block === undefined) addToRuns(this.#pendingFrees, cluster, 1);
      else this.#decreaseRefcounts(block, { first: cluster, count: 1 });
    }`,
    suite: "power-cut",
  },
  {
    name: "a flush that does not flush",
    file: COMMIT,
    find: `await this.#write(wasOrdered);
      await this.#options.file.flush();`,
    replace: "await this.#write(wasOrdered);",
    suite: "power-cut",
  },
  {
    name: "a flush that forgets the external data file",
    file: GUARDED,
    find: "Array.from(new Set([dataStorage, storage]), flushesOf)",
    replace: "Array.from([dataStorage, storage].slice(1), flushesOf)",
    suite: "power-cut",
    shape: "external data file",
  },
  {
    name: "an image that was created never given an order, however long it is used",
    file: COMMIT,
    find: "durability.isOrdered = true;",
    replace: "",
    suite: "power-cut",
  },
  {
    name: "a flush that failed tried again as if nothing had been lost",
    file: "packages/core/src/storage/final-flush.ts",
    find: "this.#failure ??= { error };",
    replace: "",
    suite: "faults",
  },
  {
    name: "two flushes of one file at the same time",
    file: "packages/core/src/storage/final-flush.ts",
    find: "if (this.#running === undefined) return this.#begin();",
    replace: "if (this.#next === undefined) return this.#begin();",
    suite: "core-tests",
    tests: "engine/final-flush.test.ts",
  },
  {
    name: "what a failed write allocated never given back",
    file: GUEST_WRITER,
    find: "if (!(old.hostOffset === hostOffset && old.copied)) commit.free(hostOffset / clusterSize, 1);",
    replace: "",
    suite: "faults",
  },
  {
    name: "tables that failed to be written taken for written",
    file: "packages/core/src/engine/table-cache.ts",
    find: "if (this.#tables.get(table.offset) === table) this.markDirty(table);",
    replace: "",
    suite: "faults",
  },
  {
    name: "the header switched to a refcount table that is not yet durable",
    file: COMMIT,
    find: `await this.#writeRefcounts(isOrdered);
      await this.#barrier(isOrdered);`,
    replace: "await this.#writeRefcounts(isOrdered);",
    suite: "power-cut",
    shape: "refcount table about to grow",
  },
  {
    name: "a refcount table entry written before its block",
    file: COMMIT,
    find: `if (entries.length > 0) await this.#barrier(isOrdered);
      await this.#writeAll("refcount-table", entries);`,
    replace: `await this.#writeAll("refcount-table", entries);`,
    suite: "power-cut",
    shape: "refcount block about to be added",
  },
  {
    name: "an L1 entry written before its L2 table is durable",
    file: COMMIT,
    find: `if (entries.length > 0) await this.#barrier(isOrdered);
        await this.#writeAll("active-l1", entries);`,
    replace: `await this.#writeAll("active-l1", entries);`,
    suite: "power-cut",
  },
  {
    name: "frees that failed forgotten",
    file: COMMIT,
    find: "this.#pendingFrees = this.#pendingFrees.concat(frees);",
    replace: "",
    suite: "faults",
  },
  {
    name: "the L1 entries that failed to be written taken for written",
    file: COMMIT,
    find: "l1.notWritten(entries);",
    replace: "",
    suite: "faults",
  },
  {
    name: "a copy of a table that is on its way to the disk evicted and read again",
    file: "packages/core/src/engine/table-cache.ts",
    find: `table.dirty = false;
      table.pins++;`,
    replace: "table.dirty = false;",
    suite: "interleavings",
  },
  {
    name: "bitmaps' marks as in use not durable before the data",
    file: "packages/core/src/engine/begin-writing.ts",
    find: "(clearedFeatures || markedBitmaps)",
    replace: "clearedFeatures",
    suite: "power-cut",
  },
  {
    name: "a bitmap that says it was saved before the data that it tells of is durable",
    file: "packages/core/src/engine/image-requests.ts",
    find: "while (this.#hasUnflushedChanges || writers?.plain.commit.isDirty) await this.#flush();",
    replace: "while (writers?.plain.commit.isDirty) await this.#flush();",
    suite: "power-cut",
  },
];
