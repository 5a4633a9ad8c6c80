/** Writes whole clusters in compressed form (specification: "Compressed Clusters Descriptor"). */
import { assert, Qcow2Error } from "../errors.ts";
import { roundUp } from "../format/geometry.ts";
import { encodeCompressedDescriptor } from "../format/l2-entry.ts";
import { SECTOR_SIZE } from "../limits.ts";
import { entryAt, entryOf, writeGuestData } from "./guest-writer.ts";
import { freeEntryClusters, writeCompressedEntry } from "./l2-editing.ts";
import { releaseSlice, writableSlice } from "./l2-tables.ts";
import type { WriteContext } from "./write-context.ts";

export class CompressedWriter {
  readonly #context: WriteContext;
  /** Ends when the cluster written before has its place: clusters are placed in the order of the calls. */
  #placed: Promise<void> = Promise.resolve();
  #hasWritten = false;

  constructor(context: WriteContext) {
    this.#context = context;
  }

  /**
   * Compresses and writes the cluster at `offset`; `from` may be shorter only at the end of the disk. Clusters are
   * compressed at the same time but placed in the order of the calls, so that the image does not depend on how fast
   * each was. The caller holds the range lock of the cluster.
   */
  async write(offset: number, from: Uint8Array): Promise<void> {
    const before = this.#placed;
    let placed = (): void => undefined;
    this.#placed = new Promise((resolve) => (placed = resolve));
    try {
      const compressed = await this.#compress(from);
      await before;
      if (compressed === undefined) {
        await writeGuestData(this.#context, offset, from);
        return;
      }
      const hostOffset = await this.#place(offset, compressed);
      placed();
      await this.#writeAndLink(offset, hostOffset, compressed);
    } finally {
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
    if (!this.#hasWritten) return;
    const { storage } = this.#context.image;
    const size = await storage.size();
    if (size % SECTOR_SIZE !== 0) await storage.truncate(roundUp(size, SECTOR_SIZE));
  }

  /** The compressed cluster; undefined if it did not become smaller. */
  async #compress(from: Uint8Array): Promise<Uint8Array | undefined> {
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
    let cluster = from;
    if (from.length < clusterSize) {
      cluster = new Uint8Array(clusterSize);
      cluster.set(from);
    }
    const compressed = await image.codec.compress(cluster);
    return compressed.length < clusterSize ? compressed : undefined;
  }

  async #place(offset: number, compressed: Uint8Array): Promise<number> {
    const { allocation, allocator, image } = this.#context;
    const hostOffset = await allocation.run(async () => {
      // A missing L2 table gets its place here too: when linked, clusters come in the order in which they are ready.
      releaseSlice(await writableSlice(this.#context, offset));
      return await allocator.allocateBytes(compressed.length);
    });
    const maximum = 2 ** Math.min(53, 62 - (image.mapping.geometry.clusterBits - 8));
    if (hostOffset + compressed.length > maximum) {
      throw new Qcow2Error("limit-exceeded", "The image file is too large for compressed clusters", {
        what: "compressed cluster offset",
        found: hostOffset,
        maximum,
      });
    }
    assert(offset % image.mapping.geometry.clusterSize === 0, "compressed clusters are whole clusters");
    return hostOffset;
  }

  async #writeAndLink(offset: number, hostOffset: number, compressed: Uint8Array): Promise<void> {
    const context = this.#context;
    const { geometry } = context.image.mapping;
    const descriptor = encodeCompressedDescriptor(geometry, hostOffset, compressed.length);
    try {
      this.#hasWritten = true;
      await context.file.write("guest-data", hostOffset, compressed);
      const slice = await context.allocation.run(() => writableSlice(context, offset));
      try {
        const old = entryOf(context, slice, offset);
        writeCompressedEntry(geometry, slice.table.view, entryAt(geometry, slice, offset), descriptor);
        context.image.mapping.l2Slices.markDirty(slice.table);
        freeEntryClusters(context, old);
      } finally {
        releaseSlice(slice);
      }
    } catch (error) {
      const first = Math.floor(hostOffset / geometry.clusterSize);
      const last = Math.floor((hostOffset + compressed.length - 1) / geometry.clusterSize);
      context.commit.free(first, last - first + 1);
      throw error;
    }
  }
}
