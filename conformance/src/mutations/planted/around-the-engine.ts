/** Mistakes around the engine: in disks and storages, in the converter, in what is done on the host. */
import type { Mutation } from "../mutation.ts";

const CORE = "packages/core/src";
const CONVERT = "packages/convert/src";

export const AROUND_THE_ENGINE: readonly Mutation[] = [
  {
    name: "zeroes behind the end of a raw file that cut off what was written there meanwhile",
    file: `${CORE}/disk/raw-disk.ts`,
    find: "await this.storage.write(end - 1, new Uint8Array(1));",
    replace: "await this.storage.truncate(end);",
    suite: "core-tests",
    tests: "engine/raw-disk.test.ts",
  },
  {
    name: "bytes that a stream had gathered lost when the chunk behind them fills the piece",
    file: `${CORE}/disk/disk-streams.ts`,
    find: "if (length === pieceLength) {",
    replace: "if (length === pieceLength - this.#gathered) {",
    suite: "core-tests",
    tests: "disk-streams.test.ts",
  },
  {
    name: "a hole that is punched beyond the end of a part of a storage",
    file: `${CORE}/storage/part-of-storage.ts`,
    find: "const clipped = this.#length === undefined ? bytes : Math.min(bytes, this.#length - at);",
    replace: "const clipped = bytes;",
    suite: "core-tests",
    tests: "part-of-storage.test.ts",
  },
  {
    name: "the last cluster of compressed data that could not be linked never given back",
    file: `${CORE}/engine/compressed-writer.ts`,
    find: "commit.free(first, last - first + 1);",
    replace: "commit.free(first, Math.max(1, last - first));",
    suite: "core-tests",
    tests: "engine/compressed-space.test.ts",
  },
  {
    name: "the disk size of a snapshot not read unless an instruction count follows it",
    file: `${CORE}/format/snapshot-table.ts`,
    find: "diskSize: extraSize >= 16 ?",
    replace: "diskSize: extraSize >= 24 ?",
    suite: "core-tests",
  },
  {
    name: "the first cluster of a data file taken for none by a repair of its subclusters",
    file: `${CORE}/engine/repair/mend-l2-entry.ts`,
    find: "mendSubclusters(l2, at, offset !== 0 || (hasDataFile && isCopied(high)));",
    replace: "mendSubclusters(l2, at, offset !== 0);",
    suite: "core-tests",
    tests: "engine/repair/data-file.test.ts",
  },
  {
    name: "a write through an entry that leads beyond the file, to where nothing was allocated",
    file: `${CORE}/engine/guarded-file.ts`,
    find: `if (end > this.#knownEnd) this.refuseDamage(leadsNowhere("L2 table", offset));`,
    replace: "",
    suite: "core-tests",
    tests: "engine/damaged-metadata.test.ts",
  },
  {
    name: "what lies behind the end of a layer that the target's backing file provides left to it, too",
    file: `${CONVERT}/copy-plan.ts`,
    find: "distanceToNext([backing.sourceSize, backing.targetSize], offset)",
    replace: "distanceToNext([backing.targetSize], offset)",
    suite: "convert-tests",
  },
  {
    name: "a sector that cannot be read left as whatever the buffer held before",
    file: `${CONVERT}/salvage.ts`,
    find: "into.fill(0);",
    replace: "",
    suite: "convert-tests",
    tests: "salvage-buffers.test.ts",
  },
  {
    name: "the difference that is found last told instead of the first",
    file: `${CONVERT}/compare-disks.ts`,
    find: "if (this.#finding === undefined || finding.offset < this.#finding.offset) this.#finding = finding;",
    replace: "this.#finding = finding;",
    suite: "convert-tests",
  },
  {
    name: "pieces that the host did not copy left out",
    file: `${CONVERT}/convert-disk.ts`,
    find: "for (const { offset, length } of notCopied) {",
    replace: "for (const { offset, length } of notCopied.slice(1)) {",
    suite: "convert-tests",
  },
  {
    name: "zeroes of more than one piece all written at the first one's place",
    file: "packages/node/src/file/positioned-io.ts",
    find: "Math.min(ZERO_PIECE_BYTES, length - done)), position + done);",
    replace: "Math.min(ZERO_PIECE_BYTES, length - done)), position);",
    suite: "node-tests",
  },
];
