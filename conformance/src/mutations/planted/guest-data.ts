/** Mistakes that put wrong bytes where the guest reads, or share what must not be shared. */
import type { Mutation } from "../mutation.ts";

const ENGINE = "packages/core/src/engine";
const GUEST_WRITER = `${ENGINE}/guest-writer.ts`;
const ZERO_WRITER = `${ENGINE}/zero-writer.ts`;
const L2_EDITING = `${ENGINE}/l2-editing.ts`;
const RESOLVE = `${ENGINE}/resolve.ts`;
const READER = `${ENGINE}/guest-reader.ts`;
const COMPRESSED = `${ENGINE}/compressed-writer.ts`;

export const GUEST_DATA: readonly Mutation[] = [
  {
    name: "a cluster that a snapshot shares written in place",
    file: L2_EDITING,
    find: "copied: isCopied(high),",
    replace: "copied: true,",
    suite: "model",
  },
  {
    name: "an L2 table that a snapshot shares changed in place",
    file: `${ENGINE}/l2-tables.ts`,
    find: "if (!l1EntryCopied(mapping.l1.view, l1Index))",
    replace: "if (sliceOffsetFor(mapping, offset) === undefined)",
    suite: "model",
  },
  {
    name: "an L2 table in memory that a snapshot shares taken for the disk's own",
    file: `${ENGINE}/l2-tables.ts`,
    find: "if (!l1EntryCopied(mapping.l1.view, Math.floor(offset / mapping.geometry.l2Coverage))) return undefined;",
    replace: "if (sliceOffsetFor(mapping, offset) === undefined) return undefined;",
    suite: "model",
  },
  {
    name: "COPIED left on a cluster that was given a new place as shared",
    file: GUEST_WRITER,
    find: "copied: true,",
    replace: "copied: old.copied,",
    suite: "model",
  },
  {
    name: "the zero flag tested before the compressed flag",
    file: RESOLVE,
    find: "    if (isCompressed(high)) {",
    replace: "    if (isCompressed(high) && !hasZeroFlag(low)) {",
    suite: "model",
  },
  {
    name: "the tail of a copy-on-write dropped",
    file: GUEST_WRITER,
    find: "readEdge(context, run.end, joined.subarray(headBytes + data.length)),",
    replace: "",
    suite: "model",
  },
  {
    name: "the head of a copy-on-write dropped",
    file: GUEST_WRITER,
    find: "readEdge(context, run.copyStart, joined.subarray(0, headBytes)),",
    replace: "",
    suite: "model",
  },
  {
    name: "the tail of a large copy-on-write dropped",
    file: GUEST_WRITER,
    find: "if (tailBytes > 0) await writeGuestBytes(context, hostStart + headBytes + data.length, tail);",
    replace: "",
    suite: "model",
  },
  {
    name: "the head of a large copy-on-write dropped",
    file: GUEST_WRITER,
    find: "if (headBytes > 0) await writeGuestBytes(context, hostStart, head);",
    replace: "",
    suite: "model",
  },
  {
    name: "the data of a large copy-on-write written where its head belongs",
    file: GUEST_WRITER,
    find: "await writeGuestBytes(context, hostStart + headBytes, data);",
    replace: "await writeGuestBytes(context, hostStart, data);",
    suite: "model",
  },
  {
    name: "zeroes on an overlay that let the backing file show through",
    file: ZERO_WRITER,
    find: "zeroBits: (old.zeroBits | bits) >>> 0,",
    replace: "zeroBits: old.zeroBits,",
    suite: "model",
  },
  {
    name: "a backing file that is too short not extended with zeroes",
    file: READER,
    find: "into.fill(0, length);",
    replace: "",
    suite: "model",
  },
  {
    name: "a discard that drops the clusters that it covers in part",
    file: `${ENGINE}/discard.ts`,
    find: "const first = roundUp(start, geometry.clusterSize);",
    replace: "const first = roundDown(start, geometry.clusterSize);",
    suite: "model",
  },
  {
    name: "a raw data file that does not hear of zeroes",
    file: `${ENGINE}/data-file.ts`,
    find: `  if (!isDataFileRaw(image.layout)) return;
  const { dataStorage } = image;`,
    replace: `  if (true) return;
  const { dataStorage } = image;`,
    suite: "model",
  },
  {
    name: "all subclusters of a cluster taken for written",
    file: GUEST_WRITER,
    find: "allocBits: (keepsCluster ? old.allocBits | written : written) >>> 0,",
    replace: "allocBits: 0xffffffff,",
    suite: "model",
  },
  {
    name: "subclusters that were written still marked as zeroes",
    file: GUEST_WRITER,
    find: "zeroBits: geometry.extendedL2 ? (old.zeroBits & ~written) >>> 0 : 0,",
    replace: "zeroBits: geometry.extendedL2 ? old.zeroBits : 0,",
    suite: "model",
  },
  {
    name: "a cluster with a zero mark written in place, mark and all",
    file: GUEST_WRITER,
    find: "return entry.hostOffset !== undefined && entry.copied && (entry.allocBits & bits) >>> 0 === bits;",
    replace: "return entry.hostOffset !== undefined && entry.copied;",
    suite: "model",
  },
  {
    name: "a write in place that goes over the end of a run of host clusters",
    file: GUEST_WRITER,
    find: "if (entry.hostOffset !== hostOffset + (cluster - firstCluster)) return undefined;",
    replace: "",
    suite: "model",
  },
  {
    name: "the second part of a write that takes two L2 tables written with the first one's bytes",
    file: GUEST_WRITER,
    find: `          hostStartOf(context, run),
          partOf(from, run.start - offset, run.end - offset),`,
    replace: `          hostStartOf(context, run),
          partOf(from, run.start - at, run.end - at),`,
    suite: "model",
  },
  {
    name: "clusters allocated in pieces that all begin where the first does",
    file: GUEST_WRITER,
    find: "const clusterStart = firstCluster + (done + index) * clusterSize;",
    replace: "const clusterStart = firstCluster + index * clusterSize;",
    suite: "model",
  },
  {
    name: "subclusters with data left behind where their cluster moves",
    file: GUEST_WRITER,
    find: "if (!moves || entry.allocBits === 0) return { start, end };",
    replace: "if (!moves || entry.allocBits === 0 || geometry.extendedL2) return { start, end };",
    suite: "model",
  },
  {
    name: "half a subcluster marked as zeroes although the rest of it holds data",
    file: ZERO_WRITER,
    find: `if (kind !== "zero" && kind !== "unallocated") return false;`,
    replace: "",
    suite: "model",
  },
  {
    name: "half a subcluster marked as zeroes although the backing file shows through the rest",
    file: ZERO_WRITER,
    find: "if (rest.start < rest.end && !(await isMappedAsZero(backing, rest))) return false;",
    replace: "",
    suite: "model",
  },
  {
    name: "zeroes within one cluster of an old image that only reach to its end",
    file: ZERO_WRITER,
    find: "await writeZeroData(context, Math.max(start, marked.end), end, signal);",
    replace: "",
    suite: "model",
  },
  {
    name: "a compressed cluster that keeps its data bits when a part of it is zeroed",
    file: ZERO_WRITER,
    find: "allocBits: old.compressed ? 0 : allocBits,",
    replace: "allocBits,",
    suite: "model",
  },
  {
    name: "host bytes between compressed clusters that are read as if they were not there",
    file: `${ENGINE}/compressed-batches.ts`,
    find: "near.inputStart + hostOffset - near.hostOffset",
    replace: "batch.inputLength",
    suite: "core-tests",
  },
  {
    name: "a part of a batch of compressed clusters that does not grow with what is added to it",
    file: `${ENGINE}/compressed-batches.ts`,
    find: "else near.length = inputLength - near.inputStart;",
    replace: "else near.length = Math.max(near.length, length);",
    suite: "model",
  },
  {
    name: "a part of a decompressed cluster that is always its beginning",
    file: READER,
    find: "into.set(cluster.subarray(start, start + into.length));",
    replace: "into.set(cluster.subarray(0, into.length));",
    suite: "model",
  },
  {
    name: "a decompressed cluster kept after its host cluster was freed",
    file: `${ENGINE}/write-context.ts`,
    find: "image.reader.forgetDecompressed();",
    replace: "",
    suite: "model",
  },
  {
    name: "subclusters of an extended entry that are all taken for data because the first is",
    file: RESOLVE,
    find: "return slice.getUint32(entryAt + 8) === 0 && slice.getUint32(entryAt + 12) === 0xffffffff;",
    replace: "return slice.getUint32(entryAt + 8) === 0 && (slice.getUint32(entryAt + 12) & 1) === 1;",
    suite: "model",
  },
  {
    name: "extents that are neighbours for the guest joined although they are not on the host",
    file: RESOLVE,
    find: ": next.hostOffset !== last.hostOffset + last.length)",
    replace: ": next.hostOffset === undefined)",
    suite: "model",
  },
  {
    name: "the compressed form of a cluster kept with the bits of its subclusters",
    file: L2_EDITING,
    find: `  if (!geometry.extendedL2) return;
  slice.setUint32(at + 8, 0);
  slice.setUint32(at + 12, 0);`,
    replace: "",
    suite: "core-tests",
  },
  {
    name: "compressed clusters that are neighbours in the file written in the order of their calls",
    file: COMPRESSED,
    find: "while (stored[end]?.hostOffset === hostEnd) hostEnd",
    replace: "while (stored[end] !== undefined) hostEnd",
    suite: "model",
  },
  {
    name: "what did not become smaller stored as if it had",
    file: COMPRESSED,
    find: "bytes: bytes.length < clusterSize ? bytes : undefined, guestBytes };",
    replace: "bytes: bytes.subarray(0, clusterSize), guestBytes };",
    suite: "model",
  },
  {
    name: "another backing disk than the header's not hidden by a discard",
    file: `${ENGINE}/discard.ts`,
    find: "zeroBits: revealBacking || mapping.version < 3 ? 0 : ALL_SUBCLUSTERS,",
    replace: "zeroBits: 0,",
    suite: "model",
  },
];
