/** Mistakes that other qcow2 writers have made, each as a change of one place in the built engine. */

export interface Mutation {
  readonly name: string;
  /** Of `@qcow2/core`, below its `dist` folder. */
  readonly file: string;
  /** Occurs exactly once in the file. */
  readonly find: string;
  readonly replace: string;
}

export const MUTATIONS: readonly Mutation[] = [
  {
    name: "L2 tables written without waiting for the data and refcounts that they refer to",
    file: "engine/metadata-commit.js",
    find: `await this.barrier();
                await this.#writeAll("active-l2", slices);`,
    replace: `await this.#writeAll("active-l2", slices);`,
  },
  {
    name: "L2 tables written before their data, even in time",
    file: "engine/guest-writer.js",
    find: `await writeRun(context, run, partOf(from, run.start - offset, run.end - offset));
                if (!run.inPlace)
                    linkRun(context, slice, run);`,
    replace: `if (!run.inPlace)
                    linkRun(context, slice, run);
                await writeRun(context, run, partOf(from, run.start - offset, run.end - offset));`,
  },
  {
    name: "refcounts decreased before the reference is removed from the disk",
    file: "engine/metadata-commit.js",
    find: `await this.barrier();
            await this.#options.reads.drain();
            await this.#applyFrees(frees);`,
    replace: `await this.#options.reads.drain();
            await this.#applyFrees(frees);`,
  },
  {
    name: "a freed cluster used again at once",
    file: "engine/metadata-commit.js",
    find: "addToRuns(this.#pendingFrees, first, count);",
    replace: `const { refcounts } = this.#image;
        for (let cluster = first; cluster < first + count; cluster++) {
            const block = refcounts.blocks.get(refcounts.blockOffset(refcounts.blockIndexOf(cluster)));
            if (block === undefined) addToRuns(this.#pendingFrees, cluster, 1);
            else this.#decreaseRefcounts(block, { first: cluster, count: 1 });
        }`,
  },
  {
    name: "a cluster that a snapshot shares written in place",
    file: "engine/l2-editing.js",
    find: "copied: isCopied(high),",
    replace: "copied: true,",
  },
  {
    name: "an L2 table that a snapshot shares changed in place",
    file: "engine/l2-tables.js",
    find: "if (!l1EntryCopied(mapping.l1.view, l1Index))",
    replace: "if (sliceOffsetFor(mapping, offset) === undefined)",
  },
  {
    name: "COPIED left on a cluster that was given a new place as shared",
    file: "engine/guest-writer.js",
    find: "copied: true,",
    replace: "copied: old.copied,",
  },
  {
    name: "the zero flag tested before the compressed flag",
    file: "engine/resolve.js",
    find: "if (isCompressed(high)) {",
    replace: "if (isCompressed(high) && !hasZeroFlag(low)) {",
  },
  {
    name: "the tail of a copy-on-write dropped",
    file: "engine/guest-writer.js",
    find: "readEdge(context, run.end, joined.subarray(headBytes + data.length)),",
    replace: "",
  },
  {
    name: "the head of a copy-on-write dropped",
    file: "engine/guest-writer.js",
    find: "readEdge(context, run.copyStart, joined.subarray(0, headBytes)),",
    replace: "",
  },
  {
    name: "a flush that does not flush",
    file: "engine/metadata-commit.js",
    find: `await this.#write();
            await this.#flushStorages();`,
    replace: "await this.#write();",
  },
  {
    name: "a flush that forgets the external data file",
    file: "engine/metadata-commit.js",
    find: "if (dataStorage !== storage)",
    replace: "if (false)",
  },
  {
    name: "zeroes on an overlay that let the backing file show through",
    file: "engine/zero-writer.js",
    find: "zeroBits: (old.zeroBits | bits) >>> 0,",
    replace: "zeroBits: old.zeroBits,",
  },
  {
    name: "a backing file that is too short not extended with zeroes",
    file: "engine/guest-reader.js",
    find: "into.fill(0, length);",
    replace: "",
  },
  {
    name: "a compressed cluster that spans two host clusters freed in one of them only",
    file: "engine/l2-editing.js",
    find: "commit.free(first, last - first + 1);",
    replace: "commit.free(first, 1);",
  },
  {
    name: "a discard that drops the clusters that it covers in part",
    file: "engine/discard.js",
    find: "const first = roundUp(start, geometry.clusterSize);",
    replace: "const first = roundDown(start, geometry.clusterSize);",
  },
  {
    name: "requests for the same clusters that do not wait for each other",
    file: "engine/async-lock.js",
    find: `if (before.length > 0)
                await Promise.all(before);`,
    replace: "",
  },
  {
    name: "clusters freed under reads that still look at them",
    file: "engine/metadata-commit.js",
    find: "await this.#options.reads.drain();",
    replace: "",
  },
  {
    name: "what a failed write allocated never given back",
    file: "engine/guest-writer.js",
    find: `if (!(old.hostOffset === hostOffset && old.copied))
            commit.free(hostOffset / clusterSize, 1);`,
    replace: "",
  },
  {
    name: "tables that failed to be written taken for written",
    file: "engine/table-cache.js",
    find: `if (this.#tables.get(table.offset) === table)
                this.markDirty(table);`,
    replace: "",
  },
  {
    name: "a changed table evicted before it was written",
    file: "engine/table-cache.js",
    find: "if (table.dirty || table.pins > 0)",
    replace: "if (table.pins > 0)",
  },
  {
    name: "the header switched to a refcount table that is not yet durable",
    file: "engine/metadata-commit.js",
    find: `await this.#writeRefcounts();
            await this.barrier();`,
    replace: "await this.#writeRefcounts();",
  },
  {
    name: "a refcount table entry written before its block",
    file: "engine/metadata-commit.js",
    find: `if (entries.length > 0)
                await this.barrier();
            await this.#writeAll("refcount-table", entries);`,
    replace: `await this.#writeAll("refcount-table", entries);`,
  },
  {
    name: "a raw data file that does not hear of zeroes",
    file: "engine/data-file.js",
    find: "if (!isDataFileRaw(image.layout))",
    replace: "if (true)",
  },
  {
    name: "all subclusters of a cluster taken for written",
    file: "engine/guest-writer.js",
    find: "allocBits: (keepsCluster ? old.allocBits | written : written) >>> 0,",
    replace: "allocBits: 0xffffffff,",
  },
  {
    name: "the header switched to a snapshot that is not yet durable",
    file: "engine/transaction/metadata-transaction.js",
    find: `if (hasNewTables) {
            await storage.flush();`,
    replace: "if (hasNewTables) {",
  },
  {
    name: "what lay behind the end of a disk shown when it grows",
    file: "engine/resize/resize-image.js",
    find: "if (tail.some((byte) => byte !== 0)) {",
    replace: "if (tail.length < 0) {",
  },
  {
    name: "a bitmap that misses what is written",
    file: "qcow2-image.js",
    find: "this.#tracking?.note(offset, offset + length);",
    replace: "",
  },
  {
    name: "a name written over the one that the header still has",
    file: "engine/header/replace-first-cluster.js",
    find: "if (usedRanges(next).some((range) => at >= range.start && at < range.end))\n                return undefined;",
    replace: "",
  },
  {
    name: "data that a deleted snapshot shared with the disk freed",
    file: "engine/snapshots/snapshot-tree.js",
    find: "await refcounts.change(first, count, 1);",
    replace: "await refcounts.change(first, count > 1 ? count - 1 : count, 1);",
  },
  {
    name: "a snapshot taken of a disk that is still being written to",
    file: "qcow2-image.js",
    find: `do
                await this.#flush();
            while (writer.commit.isDirty);`,
    replace: "",
  },
  {
    name: "a repair that trusts a refcount block in which something else lies",
    file: "engine/repair/repair-image.js",
    find: "blocksAreSound = false;",
    replace: ";",
  },
  {
    name: "host bytes between compressed clusters that are read as if they were not there",
    file: "engine/compressed-batches.js",
    find: "near.inputStart + hostOffset - near.hostOffset",
    replace: "batch.inputLength",
  },
];
