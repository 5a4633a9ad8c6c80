/** Mistakes in what has to stay known, or to end, when a request fails or the tables were replaced. */
import type { Mutation } from "../mutation.ts";

const ENGINE = "packages/core/src/engine";
const ALLOCATOR = `${ENGINE}/allocator.ts`;
const REQUESTS = `${ENGINE}/image-requests.ts`;

export const AFTERWARDS: readonly Mutation[] = [
  {
    name: "a data file cut off while the image still has the tables of the larger disk in memory",
    file: `${ENGINE}/resize/resize-image.ts`,
    find: `  return async () => {
    await giveBack();
    await image.dataStorage.truncate(size);
  };`,
    replace: `  await image.dataStorage.truncate(size);
  return giveBack;`,
    suite: "core-tests",
    tests: "engine/after-the-switch.test.ts",
  },
  {
    name: "compressed data at the end of the file forgotten with the tables",
    file: REQUESTS,
    find: "await this.#writers?.compressed.padFile();",
    replace: "",
    suite: "core-tests",
    tests: "engine/after-the-switch.test.ts",
  },
  {
    name: "freed clusters at the end of the file forgotten with the tables",
    file: REQUESTS,
    find: "hasFreed: this.#writers?.plain.commit.hasFreed ?? false,",
    replace: "hasFreed: false,",
    suite: "core-tests",
    tests: "engine/after-the-switch.test.ts",
  },
  {
    name: "a cluster that is freed during a search passed over by all later ones",
    file: ALLOCATOR,
    find: "if (this.#firstMaybeFree === from) this.#firstMaybeFree = next;",
    replace: "this.#firstMaybeFree = next;",
    suite: "core-tests",
    tests: "engine/freed-while-searching.test.ts",
  },
  {
    name: "compressed data that would go on behind the end of a full device",
    file: ALLOCATOR,
    find: "if (this.#proof.isSuspect(cluster) || cluster >= (this.#endCluster ?? Infinity)) return false;",
    replace: "if (this.#proof.isSuspect(cluster)) return false;",
    suite: "core-tests",
  },
  {
    name: "a request ended by the signal of another one",
    file: `${ENGINE}/proof/reference-proof.ts`,
    find: "if (isOurs) throw error;",
    replace: "throw error;",
    suite: "core-tests",
    tests: "engine/aborting-beside-others.test.ts",
  },
  {
    name: "a write that ends while one of its edges is still being read",
    file: `${ENGINE}/guest-writer.ts`,
    find: "await allEnded([\n",
    replace: "await Promise.all([\n",
    suite: "core-tests",
    tests: "engine/failing-storage.test.ts",
  },
  {
    name: "a change that was given up before its turn made all the same",
    file: `${ENGINE}/async-lock.ts`,
    find: "      signal.throwIfAborted();\n",
    replace: "",
    suite: "core-tests",
    tests: "engine/waiting-requests.test.ts",
  },
  {
    name: "a write that waited for a smaller disk done behind its end",
    file: REQUESTS,
    find: "            assertDiskRange(offset, length, this.#image.size);\n            const writers",
    replace: "            const writers",
    suite: "core-tests",
    tests: "engine/waiting-requests.test.ts",
  },
  {
    name: "the last sector that a data file holds behind the disk's end shown when it grows",
    file: `${ENGINE}/resize/resize-image.ts`,
    find: "Math.min(fileSize, size) - oldSize",
    replace: "Math.min(fileSize, size) - oldSize - 512",
    suite: "core-tests",
    tests: "engine/waiting-requests.test.ts",
  },
];
