/** What the parts of the write engine share. */
import { Allocator } from "./allocator.ts";
import { type Epochs, Mutex, RangeLock } from "./async-lock.ts";
import { GuardedFile } from "./guarded-file.ts";
import { MetadataCommit } from "./metadata-commit.ts";
import type { OpenImage } from "./open-image.ts";
import type { ReferenceProof } from "./proof/reference-proof.ts";

export interface WriteContext {
  readonly image: OpenImage;
  readonly file: GuardedFile;
  readonly allocator: Allocator;
  readonly commit: MetadataCommit;
  /** What of the refcounts may be believed. */
  readonly proof: ReferenceProof;
  /** Held while L2 tables and clusters are allocated; never while guest data is written. */
  readonly allocation: Mutex;
  /** Guest bytes that a request is changing: whole clusters, unless no L2 entry changes. */
  readonly ranges: RangeLock;
  /** Whatever looks at host clusters that might be freed meanwhile; nothing is freed under it. */
  readonly reads: Epochs;
}

/** What outlives a context: whoever waits for one of these may go on with the next context. */
interface Lasting extends Pick<WriteContext, "ranges" | "reads" | "proof"> {
  /** Clusters became free before: the end of the file may be unused. */
  readonly hasFreed: boolean;
}

export function createWriteContext(
  image: OpenImage,
  { ranges, reads, proof, hasFreed }: Lasting,
): WriteContext {
  const { clusterSize } = image.layout.geometry;
  const file = new GuardedFile(image);
  const commit: MetadataCommit = new MetadataCommit({
    image,
    file,
    reads,
    proof,
    hasFreed,
    onUnused: (cluster) => {
      image.reader.forgetDecompressed();
      dropTables(image, cluster * clusterSize, clusterSize);
      allocator.noteUnused(cluster);
    },
    onFreed: (cluster) => allocator.noteFreed(cluster),
  });
  const allocator = new Allocator({ image, file, commit, proof });
  return {
    image,
    file,
    allocator,
    commit,
    proof,
    reads,
    allocation: new Mutex(),
    ranges,
  };
}

/** For {@link WriteContext.ranges}; lists of what is held cover 64 clusters each. */
export function createRanges(image: OpenImage): RangeLock {
  return new RangeLock(64 * image.layout.geometry.clusterSize);
}

/** A freed cluster may have held an L2 table; whatever is put there next must not be taken for it. */
function dropTables({ mapping }: OpenImage, offset: number, length: number): void {
  for (let at = offset; at < offset + length; at += mapping.l2Slices.tableBytes) mapping.l2Slices.drop(at);
}
