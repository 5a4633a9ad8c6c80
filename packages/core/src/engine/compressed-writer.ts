/** Writes whole clusters in compressed form (specification: "Compressed Clusters Descriptor"). */
import type { ClusterCodec } from "../codec/codec.ts";
import { assert, Qcow2Error } from "../errors.ts";
import { roundUp } from "../format/geometry.ts";
import { encodeCompressedDescriptor } from "../format/l2-entry.ts";
import { SECTOR_SIZE } from "../limits.ts";
import { allEnded } from "./bounded.ts";
import { entryAt, entryOf, writeGuestData } from "./guest-writer.ts";
import { freeEntryClusters, writeCompressedEntry } from "./l2-editing.ts";
import { releaseSlice, writableSlice } from "./l2-tables.ts";
import type { WriteContext } from "./write-context.ts";

/** One cluster: what the guest has there, and its compressed form if that is smaller. */
interface Piece {
  readonly offset: number;
  readonly guestBytes: Uint8Array;
  readonly bytes: Uint8Array | undefined;
}

/** Compressed bytes that have their place in the image file, and are to be linked at guest `offset`. */
interface StoredPiece {
  readonly offset: number;
  readonly hostOffset: number;
  readonly bytes: Uint8Array;
}

export class CompressedWriter {
  readonly #context: WriteContext;
  /** Ends when the cluster written before has its place: clusters are placed in the order of the calls. */
  #placed: Promise<void> = Promise.resolve();
  #hasWritten = false;

  constructor(context: WriteContext) {
    this.#context = context;
  }

  /**
   * Compresses and writes the clusters from `offset` on; the last may be shorter only at the end of the disk. Clusters
   * are compressed at the same time but placed in the order of the disk and of the calls, so that the image does not
   * depend on how fast each was. The caller holds the range lock of the clusters.
   */
  async write(offset: number, from: Uint8Array): Promise<void> {
    const before = this.#placed;
    let placed = (): void => undefined;
    this.#placed = new Promise((resolve) => (placed = resolve));
    const stored: StoredPiece[] = [];
    try {
      const pieces = await this.#compress(offset, from);
      await before;
      await this.#placeAll(pieces, stored);
      placed();
      await this.#writeAll(stored);
      await this.#linkAll(stored);
    } finally {
      this.#giveBack(stored);
      // Also when this one failed: but never before the one before has its place.
      await before;
      placed();
    }
  }

  /**
   * Ends the file with a whole sector: stored lengths count in sectors, and some readers refuse one that the file does
   * not have. No other request may be under way.
   */
  async padFile(): Promise<void> {
    const { storage } = this.#context.image;
    if (!this.#hasWritten || storage.fixedSize === true) return;
    const size = await storage.size();
    if (size % SECTOR_SIZE !== 0) await storage.truncate(roundUp(size, SECTOR_SIZE));
  }

  /** The clusters of `from`, compressed where that makes them smaller. */
  async #compress(offset: number, from: Uint8Array): Promise<Piece[]> {
    const { image } = this.#context;
    const { compressionType } = image.layout;
    if (image.mapping.hasDataFile) {
      throw new Qcow2Error("unsupported", "Compression is not possible with an external data file", {
        operation: "write compressed",
      });
    }
    if (image.codec?.compress === undefined) {
      throw new Qcow2Error("codec-missing", `No ${compressionType} codec that can compress is available`, {
        codec: compressionType,
        direction: "compress",
      });
    }
    const { clusterSize } = image.mapping.geometry;
    const whole = fullClusters(from, clusterSize);
    const compressed = await compressClusters(image.codec, whole, clusterSize);
    return compressed.map((bytes, index) => {
      const start = index * clusterSize;
      const guestBytes = from.subarray(start, start + clusterSize);
      return { offset: offset + start, bytes: bytes.length < clusterSize ? bytes : undefined, guestBytes };
    });
  }

  /** Gives every piece its place, in their order; those that did not become smaller are written as they are. */
  async #placeAll(pieces: readonly Piece[], stored: StoredPiece[]): Promise<void> {
    for (let index = 0; index < pieces.length; ) {
      const { offset, bytes, guestBytes } = pieces[index] as Piece;
      if (bytes === undefined) {
        await writeGuestData(this.#context, offset, guestBytes);
        index++;
        continue;
      }
      index = await this.#context.allocation.run(async () => {
        let next = index;
        for (; next < pieces.length; next++) {
          const piece = pieces[next] as Piece;
          if (piece.bytes === undefined) break;
          const placed = await this.#place(piece.offset, piece.bytes);
          stored.push(placed);
          this.#assertAddressable(placed);
        }
        return next;
      });
    }
  }

  /** The allocation mutex is held. */
  async #place(offset: number, bytes: Uint8Array): Promise<StoredPiece> {
    const { allocator, image } = this.#context;
    assert(offset % image.mapping.geometry.clusterSize === 0, "compressed clusters are whole clusters");
    // A missing L2 table gets its place here too: when linked, clusters come in the order in which they are ready.
    const slice = await writableSlice(this.#context, offset);
    try {
      await this.#context.proof.proveWritable(image);
      // Met before anything is placed: an entry that leads nowhere.
      entryOf(this.#context, slice, offset);
    } finally {
      releaseSlice(slice);
    }
    return { offset, hostOffset: await allocator.allocateBytes(bytes.length), bytes };
  }

  /** Descriptors of compressed clusters have fewer bits for offsets than others. */
  #assertAddressable({ hostOffset, bytes }: StoredPiece): void {
    const { clusterBits } = this.#context.image.mapping.geometry;
    const maximum = 2 ** Math.min(53, 62 - (clusterBits - 8));
    if (hostOffset + bytes.length <= maximum) return;
    throw new Qcow2Error("limit-exceeded", "The image file is too large for compressed clusters", {
      what: "compressed cluster offset",
      found: hostOffset,
      maximum,
    });
  }

  /** Neighbours in the file are written at once. */
  async #writeAll(stored: readonly StoredPiece[]): Promise<void> {
    this.#hasWritten ||= stored.length > 0;
    for (let first = 0, end = 0; first < stored.length; first = end) {
      const { hostOffset } = stored[first] as StoredPiece;
      let hostEnd = hostOffset;
      while (stored[end]?.hostOffset === hostEnd) hostEnd += (stored[end++] as StoredPiece).bytes.length;
      await this.#context.file.write("guest-data", hostOffset, joined(stored.slice(first, end)));
    }
  }

  /** Takes what is linked out of `stored`. */
  async #linkAll(stored: StoredPiece[]): Promise<void> {
    const context = this.#context;
    const { mapping } = context.image;
    while (stored.length > 0) {
      const { offset } = stored[0] as StoredPiece;
      const slice = await context.allocation.run(() => writableSlice(context, offset));
      try {
        for (let next = stored[0]; next !== undefined && next.offset < slice.end; next = stored[0]) {
          const old = entryOf(context, slice, next.offset);
          const at = entryAt(mapping.geometry, slice, next.offset);
          const descriptor = encodeCompressedDescriptor(mapping.geometry, next.hostOffset, next.bytes.length);
          writeCompressedEntry(mapping.geometry, slice.table.view, at, descriptor);
          mapping.l2Slices.markDirty(slice.table);
          freeEntryClusters(context, old);
          stored.shift();
        }
      } finally {
        releaseSlice(slice);
      }
    }
  }

  /** Frees what was placed and is not linked, because something failed. */
  #giveBack(stored: readonly StoredPiece[]): void {
    const { commit, image } = this.#context;
    const { clusterSize } = image.mapping.geometry;
    for (const { hostOffset, bytes } of stored) {
      const first = Math.floor(hostOffset / clusterSize);
      const last = Math.floor((hostOffset + bytes.length - 1) / clusterSize);
      commit.free(first, last - first + 1);
    }
  }
}

/** `from` with its last cluster filled up with zeroes. */
function fullClusters(from: Uint8Array, clusterSize: number): Uint8Array {
  if (from.length % clusterSize === 0) return from;
  const whole = new Uint8Array(roundUp(from.length, clusterSize));
  whole.set(from);
  return whole;
}

async function compressClusters(
  codec: ClusterCodec,
  clusters: Uint8Array,
  clusterSize: number,
): Promise<readonly Uint8Array[]> {
  if (codec.compressAll !== undefined) return await codec.compressAll(clusters, clusterSize);
  const jobs: (Uint8Array | Promise<Uint8Array>)[] = [];
  for (let start = 0; start < clusters.length; start += clusterSize) {
    // Checked before: this codec can compress.
    jobs.push(codec.compress?.(clusters.subarray(start, start + clusterSize)) ?? clusters);
  }
  return await allEnded(jobs);
}

function joined(pieces: readonly StoredPiece[]): Uint8Array {
  if (pieces.length === 1) return (pieces[0] as StoredPiece).bytes;
  const whole = new Uint8Array(pieces.reduce((sum, { bytes }) => sum + bytes.length, 0));
  let at = 0;
  for (const { bytes } of pieces) {
    whole.set(bytes, at);
    at += bytes.length;
  }
  return whole;
}
