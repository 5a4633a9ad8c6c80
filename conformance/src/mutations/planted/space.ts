/** Mistakes in who owns which host cluster, and until when. */
import type { Mutation } from "../mutation.ts";

const ENGINE = "packages/core/src/engine";
const ALLOCATOR = `${ENGINE}/allocator.ts`;
const COMMIT = `${ENGINE}/metadata-commit.ts`;
const LOCK = `${ENGINE}/async-lock.ts`;
const CACHE = `${ENGINE}/table-cache.ts`;
const REQUESTS = "packages/core/src/engine/image-requests.ts";

export const SPACE: readonly Mutation[] = [
  {
    name: "a compressed cluster that spans two host clusters freed in one of them only",
    file: `${ENGINE}/l2-editing.ts`,
    find: "commit.free(first, last - first + 1);",
    replace: "commit.free(first, 1);",
    suite: "model",
  },
  {
    name: "a compressed cluster that nobody linked freed in its first host cluster only",
    file: `${ENGINE}/compressed-writer.ts`,
    find: "commit.free(first, last - first + 1);",
    replace: "commit.free(first, 1);",
    suite: "faults",
  },
  {
    name: "requests for the same clusters that do not wait for each other",
    file: LOCK,
    find: "if (before.length > 0) await Promise.all(before);",
    replace: "",
    suite: "interleavings",
  },
  {
    name: "a request that takes a range at once although a wide one holds it",
    file: LOCK,
    find: "for (const wide of this.#wide) if (overlaps(wide, start, end)) return undefined;",
    replace: "",
    suite: "lives",
  },
  {
    name: "a request that takes a range at once although a narrow one holds it",
    file: LOCK,
    find: "if (held !== undefined && overlapsAny(held, start, end)) return undefined;",
    replace: "",
    suite: "interleavings",
  },
  {
    name: "ranges that touch forgotten by the one that waits for them although it covers only a part",
    file: LOCK,
    find: "if (!isBefore || !isWithin(earlier, range)) held[kept++] = earlier;",
    replace: "if (!isBefore) held[kept++] = earlier;",
    suite: "interleavings",
  },
  {
    name: "clusters freed under reads that still look at them",
    file: COMMIT,
    find: "await this.#options.reads.drain();",
    replace: "",
    suite: "interleavings",
  },
  {
    name: "space given back without waiting for reads that began before",
    file: REQUESTS,
    find: `await this.#reads.drain();
    await giveBack();`,
    replace: "await giveBack();",
    suite: "core-tests",
    tests: "engine/giving-back-space.test.ts",
  },
  {
    name: "a changed table evicted before it was written",
    file: CACHE,
    find: "if (table.dirty || table.pins > 0) continue;",
    replace: "if (table.pins > 0) continue;",
    suite: "model",
  },
  {
    name: "a table in use evicted",
    file: CACHE,
    find: "if (table.dirty || table.pins > 0) continue;",
    replace: "if (table.dirty) continue;",
    suite: "interleavings",
  },
  {
    name: "the buffer of an evicted table used for the next one with what it held",
    file: CACHE,
    find: "this.#spare.pop()?.fill(0) ?? new Uint8Array(this.tableBytes)",
    replace: "this.#spare.pop() ?? new Uint8Array(this.tableBytes)",
    suite: "model",
  },
  {
    name: "compressed data put into a cluster that was given up meanwhile",
    file: ALLOCATOR,
    find: "if (this.#freeByte > 0 && this.#clusterOf(this.#freeByte) === cluster) this.#freeByte = 0;",
    replace: "",
    suite: "model",
  },
  {
    name: "compressed data put behind other data without another reference to their cluster",
    file: ALLOCATOR,
    find: "refcounts.setInBlock(block, cluster, 1, refcount + 1);",
    replace: "",
    suite: "model",
  },
  {
    name: "compressed data continued in the next cluster whoever has that",
    file: ALLOCATOR,
    find: "if (block === undefined || this.#refcountIn(block, cluster) !== 0) return false;",
    replace: "if (block === undefined) return false;",
    suite: "model",
  },
  {
    name: "a cluster that compressed data could not use after all never given back",
    file: ALLOCATOR,
    find: "if (isLonger && !isCounted) this.#commit.free(cluster + 1, 1);",
    replace: "",
    suite: "core-tests",
    tests: "engine/compressed-space.test.ts",
  },
  {
    name: "a run of free clusters taken without looking at its last ones",
    file: ALLOCATOR,
    find: "while (end < limit && !isTaken(end)) end++;",
    replace: "while (end < limit) end++;",
    suite: "model",
  },
  {
    name: "a new refcount block that does not count itself",
    file: ALLOCATOR,
    find: `const block = refcounts.blocks.addNew(offset);
    refcounts.setInBlock(block, cluster, 1, 1);`,
    replace: `const block = refcounts.blocks.addNew(offset);
    refcounts.setInBlock(block, cluster, 1, 0);`,
    suite: "model",
    shape: "refcount block about to be added",
  },
  {
    name: "the old refcount table kept as leaked when a larger one takes its place",
    file: ALLOCATOR,
    find: "this.#commit.free(this.#clusterOf(oldTable.offset), oldTable.bytes.length / clusterSize);",
    replace: "",
    suite: "model",
    shape: "refcount table about to grow",
  },
  {
    name: "the entries of the old refcount table not taken over by the larger one",
    file: ALLOCATOR,
    find: "table.bytes.set(oldTable.bytes);",
    replace: "",
    suite: "model",
    shape: "refcount table about to grow",
  },
  {
    name: "the search for free clusters that never goes back to what was freed",
    file: ALLOCATOR,
    find: "this.#firstMaybeFree = Math.min(this.#firstMaybeFree, cluster);",
    replace: "",
    suite: "core-tests",
    tests: "engine/giving-back-space.test.ts",
  },
  {
    name: "a run of freed clusters that two refcount blocks count freed in the first only",
    file: COMMIT,
    find: "frees.push({ first: blockEnd, count: first + count - blockEnd });",
    replace: "",
    suite: "core-tests",
    tests: "engine/compressed-space.test.ts",
  },
  {
    name: "a cluster with several users freed by the first that gives it up",
    file: COMMIT,
    find: "refcounts.setInBlock(block, cluster, 1, refcount - 1);",
    replace: "refcounts.setInBlock(block, cluster, 1, 0);",
    suite: "model",
  },
  {
    name: "a hole punched into clusters that others use, too",
    file: COMMIT,
    find: "if (refcount === 1 && unused !== undefined) {",
    replace: "if (unused !== undefined) {",
    suite: "model",
  },
  {
    name: "the L2 table that a copy took the place of not given up",
    file: `${ENGINE}/l2-tables.ts`,
    find: "commit.free(oldOffset / clusterSize, 1);",
    replace: "",
    suite: "model",
  },
  {
    name: "a copy of an L2 table that has its first slice only",
    file: `${ENGINE}/l2-tables.ts`,
    find: "await mapping.l2Slices.with(oldOffset + at, (slice) => slice.bytes.slice())",
    replace: "await mapping.l2Slices.with(oldOffset, (slice) => slice.bytes.slice())",
    suite: "core-tests",
    tests: "engine/large-writes.test.ts",
  },
  {
    name: "the file cut off within the last cluster in use",
    file: `${ENGINE}/cut-off-file.ts`,
    find: "return last < 0 ? undefined : index * refcountsPerBlock + last;",
    replace: "return last <= 0 ? undefined : index * refcountsPerBlock + last - 1;",
    suite: "model",
  },
];
