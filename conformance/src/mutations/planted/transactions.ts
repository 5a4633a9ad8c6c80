/** Mistakes in changes of the metadata as a whole, in bitmaps, and in repairs. */
import type { Mutation } from "../mutation.ts";

const ENGINE = "packages/core/src/engine";
const TRANSACTION = `${ENGINE}/transaction/metadata-transaction.ts`;
const SHADOW = `${ENGINE}/transaction/shadow-refcounts.ts`;
const SNAPSHOTS = `${ENGINE}/snapshots/change-snapshots.ts`;
const TREE = `${ENGINE}/snapshots/snapshot-tree.ts`;
const RESIZE = `${ENGINE}/resize/resize-image.ts`;
const RESIZE_TREE = `${ENGINE}/resize/resize-tree.ts`;
const EDITOR = `${ENGINE}/bitmaps/bitmap-editor.ts`;
const TRACKING = `${ENGINE}/bitmaps/bitmap-tracking.ts`;
const EXPAND = `${ENGINE}/amend/expand-zero-clusters.ts`;
const IMAGE = "packages/core/src/qcow2-image.ts";
const REQUESTS = "packages/core/src/engine/image-requests.ts";

export const TRANSACTIONS: readonly Mutation[] = [
  {
    name: "the header switched to a snapshot that is not yet durable",
    file: TRANSACTION,
    find: `if (hasNewTables) {
      await this.#context.file.flush();`,
    replace: "if (hasNewTables) {",
    suite: "transactions",
  },
  {
    name: "a change of the metadata that is over before it is durable",
    file: TRANSACTION,
    find: `await context.file.write("main-header", 0, header.sector);
      await context.file.flush();`,
    replace: `await context.file.write("main-header", 0, header.sector);`,
    suite: "transactions",
  },
  {
    name: "changes taken on although nobody knows which header the disk has",
    file: TRANSACTION,
    find: "context.file.refuse(error);",
    replace: "",
    suite: "core-tests",
    tests: "engine/failing-storage.test.ts",
  },
  {
    name: "what lay behind the end of a disk shown when it grows",
    file: RESIZE,
    find: "if (tail.some((byte) => byte !== 0)) {",
    replace: "if (tail.length < 0) {",
    suite: "transactions",
  },
  {
    name: "a longer backing file that shows through when the disk grows",
    file: RESIZE,
    find: "revealsBacking: size > oldSize && mayReveal(image, oldSize),",
    replace: "revealsBacking: false,",
    suite: "transactions",
    shape: "over a backing file",
  },
  {
    name: "what a data file holds behind the disk's end shown when it grows",
    file: RESIZE,
    find: "await writeZeroBytes(dataStorage, oldSize, Math.min(fileSize, size) - oldSize, signal);",
    replace: ";",
    suite: "core-tests",
    tests: "engine/waiting-requests.test.ts",
  },
  {
    name: "a data file cut off before the image is smaller",
    file: RESIZE,
    find: "  const giveBack = await MetadataTransaction.run(",
    replace: `  if (size < oldSize && layout.hasDataFile) await image.dataStorage.truncate(size);
  const giveBack = await MetadataTransaction.run(`,
    suite: "transactions",
    shape: "external data file",
  },
  {
    name: "the cluster that a smaller disk ends in given up with what lies behind it",
    file: RESIZE_TREE,
    find: "const kept = roundUp(Math.min(image.size, resize.size), geometry.clusterSize);",
    replace:
      "const kept = Math.floor(Math.min(image.size, resize.size) / geometry.clusterSize) * geometry.clusterSize;",
    suite: "transactions",
  },
  {
    name: "the table that a smaller disk ends in kept with all of its entries",
    file: RESIZE_TREE,
    find: "if (firstEntry > 0 && boundary < l1.bytes.length / L1_ENTRY_BYTES) {",
    replace: "if (firstEntry < 0) {",
    suite: "transactions",
  },
  {
    name: "a bitmap that misses what is written",
    file: REQUESTS,
    find: `            this.#tracking?.note(offset, offset + length);`,
    replace: "",
    suite: "transactions",
  },
  {
    name: "a bitmap that misses what is written in place",
    file: REQUESTS,
    find: `    this.#tracking?.note(range.start, range.end);`,
    replace: "",
    suite: "core-tests",
    tests: "engine/bitmaps.test.ts",
  },
  {
    name: "a bitmap that misses the last granule of a change",
    file: TRACKING,
    find: "Math.ceil(Math.min(end, this.#size) / granularity)",
    replace: "Math.floor(Math.min(end, this.#size) / granularity)",
    suite: "transactions",
  },
  {
    name: "a bitmap left in use that is taken for a good one",
    file: TRACKING,
    find: "({ flags }) => (flags & BITMAP_FLAG_AUTO) !== 0 && (flags & BITMAP_FLAG_IN_USE) === 0,",
    replace: "({ flags }) => (flags & BITMAP_FLAG_AUTO) !== 0,",
    suite: "lives",
  },
  {
    name: "only the first of several bitmaps marked as in use",
    file: `${ENGINE}/begin-writing.ts`,
    find: "    at += roundUp(BITMAP_ENTRY_FIXED_BYTES",
    replace: "    if (!marked) at += roundUp(BITMAP_ENTRY_FIXED_BYTES",
    suite: "lives",
  },
  {
    name: "bitmaps that are not stored before the metadata changes as a whole",
    file: REQUESTS,
    find: "if (tracking !== undefined) await this.#replace((writer) => tracking.store(writer));",
    replace: "if (tracking !== undefined) await this.#forgetTables();",
    suite: "transactions",
  },
  {
    name: "bits behind the end of a disk kept for when it grows",
    file: EDITOR,
    find: "clearBits(last, kept % (clusterSize * 8), clusterSize * 8);",
    replace: "",
    suite: "core-tests",
    tests: "engine/bitmaps.test.ts",
  },
  {
    name: "the clusters of a bitmap that was cleared never given back",
    file: EDITOR,
    find: `const bitmap = this.#findConsistent(name);
    await this.#dropData(bitmap);`,
    replace: `const bitmap = this.#findConsistent(name);
    await this.#stored(bitmap);`,
    suite: "core-tests",
    tests: "engine/bitmaps.test.ts",
  },
  {
    name: "a bitmap merged into one of other granularity bit by bit",
    file: EDITOR,
    find: "const first = Math.floor((range.start - start) / stored.granularity);",
    replace: "const first = Math.ceil((range.start - start) / stored.granularity);",
    suite: "core-tests",
    tests: "engine/bitmaps.test.ts",
  },
  {
    name: "a name written over the one that the header still has",
    file: `${ENGINE}/header/replace-first-cluster.ts`,
    find: "if (usedRanges(next).some((range) => at >= range.start && at < range.end)) return undefined;",
    replace: "",
    suite: "transactions",
    shape: "over a backing file",
  },
  {
    name: "data that a deleted snapshot shared with the disk freed",
    file: TREE,
    find: "await refcounts.addUser(first, count);",
    replace: "await refcounts.addUser(first, count > 1 ? count - 1 : count);",
    suite: "transactions",
  },
  {
    name: "tables shared with a snapshot that still say they are the disk's own",
    file: TREE,
    find: "if (clearCopiedFlags(geometry, view)) {",
    replace: "if (geometry.clusterSize === 0 && clearCopiedFlags(geometry, view)) {",
    suite: "transactions",
  },
  {
    name: "the L1 entries shared with a snapshot that still say they are the disk's own",
    file: TREE,
    find: "setL1Entry(viewOf(shared), index, { offset, copied: false });",
    replace: "setL1Entry(viewOf(shared), index, { offset, copied: true });",
    suite: "transactions",
  },
  {
    name: "what a deleted snapshot leaves to the disk alone still marked as shared",
    file: SNAPSHOTS,
    find: "return { ...(await ownWhatNobodyShares(transaction)), snapshots };",
    replace: "return { snapshots };",
    suite: "transactions",
  },
  {
    name: "a snapshot applied with the size of the disk that it replaces",
    file: SNAPSHOTS,
    find: "if (sameBytes(kept, shared)) return { virtualSize, l1Table };",
    replace: "if (sameBytes(kept, shared)) return { l1Table };",
    suite: "transactions",
  },
  {
    name: "a snapshot that is applied keeps tables that say they are its own",
    file: SNAPSHOTS,
    find: "if (sameBytes(kept, shared)) return { virtualSize, l1Table };",
    replace: "if (kept.length > 0) return { virtualSize, l1Table };",
    suite: "core-tests",
    tests: "engine/snapshots.test.ts",
  },
  {
    name: "a snapshot taken of a disk that is still being written to",
    file: REQUESTS,
    find: `do await this.#flush();
          while (this.#plain.commit.isDirty);`,
    replace: "",
    suite: "transactions",
  },
  {
    name: "a change of the metadata that does not wait for the requests before it",
    file: REQUESTS,
    find: "this.#ranges.run(0, Number.MAX_SAFE_INTEGER, async () => {",
    replace: "this.#ranges.run(0, 1, async () => {",
    suite: "lives",
  },
  {
    name: "a check beside the changes that are under way",
    file: REQUESTS,
    find: "return await this.#alone(() => work(this.#image), { signal, changes: false });",
    replace: "return await this.#flush().then(() => work(this.#image));",
    suite: "lives",
  },
  {
    name: "what waits for its turn refused when the image is closed meanwhile",
    file: REQUESTS,
    find: "            const writers = this.#writers as Writers;",
    replace: "            this.assertOpen();\n            const writers = this.#writers as Writers;",
    suite: "core-tests",
    tests: "engine/accepted-requests.test.ts",
  },
  {
    name: "a map that goes on with another disk",
    file: REQUESTS,
    find: "if (otherDisk) this.#disk = {};",
    replace: "",
    suite: "core-tests",
    tests: "engine/looking-beside-changes.test.ts",
  },
  {
    name: "dirty ranges read where other bits are stored by now",
    file: `${ENGINE}/bitmaps/change-bitmaps.ts`,
    find: "if (now.bitmapContents.includes(content)) return read();",
    replace: 'if (now.bitmapContents.includes(content) || name !== "") return read();',
    suite: "core-tests",
    tests: "engine/looking-beside-changes.test.ts",
  },
  {
    name: "tables kept in memory after they were replaced as a whole",
    file: REQUESTS,
    find: "this.#image = await reloadImage({ ...this.#image, ...replaced });",
    replace:
      "this.#image = { ...(await reloadImage({ ...this.#image, ...replaced })), mapping: this.#image.mapping };",
    suite: "transactions",
  },
  {
    name: "a new cluster of a transaction that another use has had before",
    file: SHADOW,
    find: "table === undefined || codec.get(table.view, this.#nextCluster % refcountsPerBlock) === 0;",
    replace: "table === undefined || codec.get(table.view, this.#nextCluster % refcountsPerBlock) <= 1;",
    suite: "transactions",
  },
  {
    name: "holes punched where the new tables still refer to",
    file: SHADOW,
    find: "if ((this.getResident(cluster) ?? (await this.get(cluster))) === 0) freed.push(cluster);",
    replace: "if ((this.getResident(cluster) ?? (await this.get(cluster))) <= 1) freed.push(cluster);",
    suite: "transactions",
  },
  {
    name: "the file cut off within what a transaction has left in use",
    file: SHADOW,
    find: "if (last >= 0) return block * this.#perBlock + last + 1;",
    replace: "if (last >= 0) return block * this.#perBlock + last;",
    suite: "transactions",
  },
  {
    name: "refcounts of another width taken over without their second half",
    file: SHADOW,
    find: "const indexEnd = Math.min(end, (index + 1) * geometry.refcountsPerBlock);",
    replace:
      "const indexEnd = Math.min(end, (index + 1) * geometry.refcountsPerBlock) - (end > geometry.refcountsPerBlock ? 1 : 0);",
    suite: "transactions",
  },
  {
    name: "a table of zero clusters that two disks share expanded for the first only",
    file: EXPAND,
    find: "if (isShared) this.#expanded.set(cluster, expanded);",
    replace: "",
    suite: "core-tests",
    tests: "engine/zero-clusters-expanded.test.ts",
  },
  {
    name: "zero clusters over a backing file expanded to nothing",
    file: EXPAND,
    find: "const isFilled = cluster !== 0 || this.#hasBacking;",
    replace: "const isFilled = cluster !== 0;",
    suite: "transactions",
    shape: "over a backing file",
  },
  {
    name: "an image that is made empty keeps its old L1 table in the header",
    file: `${ENGINE}/make-empty.ts`,
    find: "return await replaceL1(transaction, new Uint8Array(image.mapping.l1.bytes.length));",
    replace: "return await replaceL1(transaction, image.mapping.l1.bytes);",
    suite: "transactions",
  },
  {
    name: "another backing file read only when the image is opened again",
    file: IMAGE,
    find: "await replace((writer) => changeBackingFile(writer, backing), { backing: after, otherDisk: true });",
    replace: "await replace((writer) => changeBackingFile(writer, backing), { otherDisk: true });",
    suite: "core-tests",
    tests: "engine/other-backing.test.ts",
  },
];
