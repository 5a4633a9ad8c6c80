/** The open image with the rules that QEMU's block layer has around a disk, as far as a user of qemu-io meets them. */
import { type Extent, isQcow2Error, type Preallocation, Qcow2Image, type RawDisk } from "@qcow2/core";
import { writesThrough } from "@qcow2/node";
import { copyOnRead } from "./copy-on-read.ts";
import type { IoImageRequest } from "./open-io-image.ts";
import { RequestError } from "./refusal.ts";

export interface IoImageOptions {
  /** What it was opened for. */
  readonly request: IoImageRequest;
  /** Discarding does something, and zeroes may give up space. */
  readonly discards: boolean;
}

export class IoImage {
  readonly disk: Qcow2Image | RawDisk;
  readonly #options: IoImageOptions;
  /** Every write is durable when it ends. */
  readonly #writethrough: boolean;

  constructor(disk: Qcow2Image | RawDisk, options: IoImageOptions) {
    this.disk = disk;
    this.#options = options;
    this.#writethrough = writesThrough(options.request.flags.cache);
  }

  get request(): IoImageRequest {
    return this.#options.request;
  }

  /** The same open image, with flags that need no other file. */
  reopened(request: IoImageRequest): IoImage {
    return new IoImage(this.disk, { ...this.#options, request });
  }

  get size(): number {
    return this.disk.size;
  }

  get readOnly(): boolean {
    return this.disk.readOnly;
  }

  /** @throws RequestError if the range does not lie within the disk */
  assertRange(offset: number, length: number): void {
    if (length <= this.size - offset) return;
    throw new RequestError("EIO", `The disk has only ${this.size} bytes`);
  }

  async read(offset: number, length: number): Promise<Uint8Array> {
    this.assertRange(offset, length);
    const into = new Uint8Array(length);
    if (this.request.flags.copiesOnRead && this.disk instanceof Qcow2Image) {
      await copyOnRead(this.disk, offset, length);
    }
    await this.disk.read({ offset, into });
    return into;
  }

  /** `durable` asks for this write what `writethrough` does for all. */
  async write(offset: number, from: Uint8Array, durable = false): Promise<void> {
    this.assertRange(offset, from.length);
    try {
      await this.disk.write({ offset, from });
    } catch (error) {
      if (!isQcow2Error(error, "format-guessed")) throw error;
      throw new RequestError(
        "EPERM",
        `The image would look as one of the format '${error.data.format}' afterwards; if it is raw, say so with -f raw`,
      );
    }
    await this.#flushIfWanted(durable);
  }

  async writeZeroes(request: {
    readonly offset: number;
    readonly length: number;
    readonly unmap: boolean;
    /** Fail where zeroes would have to be written as data. */
    readonly noFallback?: boolean;
    readonly durable?: boolean;
  }): Promise<void> {
    const { offset, length, unmap, noFallback = false, durable = false } = request;
    this.assertRange(offset, length);
    const possible = noFallback ? await this.#lengthWithoutFallback(offset, length) : length;
    await this.disk.writeZeroes({ offset, length: possible, unmap: unmap && this.#options.discards });
    await this.#flushIfWanted(durable);
    if (possible === length) return;
    throw new RequestError("ENOTSUP", "Only whole clusters of an image of version 3 can be marked as zero");
  }

  /** Whole clusters, the last one as long as it is. As in QEMU, none of them may be in use already. */
  async writeCompressed(offset: number, from: Uint8Array): Promise<void> {
    const { disk } = this;
    this.assertRange(offset, from.length);
    if (!(disk instanceof Qcow2Image)) {
      throw new RequestError("ENOTSUP", "Raw images have no compressed clusters");
    }
    const { clusterSize, dataFile } = disk.info();
    if (dataFile !== undefined) {
      throw new RequestError("ENOTSUP", "An external data file has no compressed clusters");
    }
    const end = offset + from.length;
    if (offset % clusterSize !== 0 || (end % clusterSize !== 0 && end !== disk.size)) {
      throw new RequestError("EINVAL", `Compressed writes take whole clusters of ${clusterSize} bytes`);
    }
    await this.#assertNoCluster(offset, from.length);
    for (let at = 0; at < from.length; at += clusterSize) {
      await disk.writeCompressed({ offset: offset + at, from: from.subarray(at, at + clusterSize) });
    }
    await this.#flushIfWanted(false);
  }

  async discard(offset: number, length: number): Promise<void> {
    this.assertRange(offset, length);
    if (this.#options.discards) await this.disk.discard({ offset, length });
  }

  async flush(): Promise<void> {
    if (!this.readOnly) await this.disk.flush();
  }

  async truncate(size: number, preallocation: Preallocation): Promise<void> {
    await this.disk.resize({ size, shrink: true, preallocation });
  }

  /** Which parts of the range the image itself defines, whatever its backing files hold; neighbours may be alike. */
  async *allocation(
    offset: number,
    length: number,
  ): AsyncGenerator<{ readonly length: number; readonly isAllocated: boolean }> {
    if (length === 0) return;
    for await (const extent of this.disk.map({ offset, length })) {
      yield { length: extent.length, isAllocated: extent.present && extent.depth === 0 };
    }
  }

  async close(): Promise<void> {
    await this.disk.close();
  }

  async #flushIfWanted(durable: boolean): Promise<void> {
    if (durable || this.#writethrough) await this.disk.flush();
  }

  /**
   * How many bytes from `offset` on can be zeroed without writing zeroes as data: none if the range begins with a part of
   * a cluster that has to keep data, all but the end if it ends with one.
   */
  async #lengthWithoutFallback(offset: number, length: number): Promise<number> {
    const { disk } = this;
    if (!(disk instanceof Qcow2Image) || length === 0) return length;
    const { version, clusterSize, extendedL2 } = disk.info();
    // Which knows no zero clusters.
    if (version === 2) return 0;
    const unit = extendedL2 ? clusterSize / 32 : clusterSize;
    const end = offset + length;
    // What is stored in this image is data, also where the host says that it is a hole.
    const holdsData = ({ kind, stored, depth }: Extent): boolean =>
      kind === "data" || (stored && depth === 0);
    const keepsData = async (edge: number): Promise<boolean> =>
      edge % unit !== 0 &&
      edge !== disk.size &&
      (await this.#hasExtent(edge - (edge % unit), unit, holdsData));
    if (await keepsData(offset)) return 0;
    return (await keepsData(end)) ? Math.max(0, end - (end % unit) - offset) : length;
  }

  async #assertNoCluster(offset: number, length: number): Promise<void> {
    const hasCluster = ({ depth, hostOffset, compressed }: Extent): boolean =>
      depth === 0 && (hostOffset !== undefined || compressed);
    if (!(await this.#hasExtent(offset, length, hasCluster))) return;
    throw new RequestError("EIO", "The image has a cluster there, and compressed data goes to new ones only");
  }

  async #hasExtent(offset: number, length: number, test: (extent: Extent) => boolean): Promise<boolean> {
    for await (const extent of this.disk.map({ offset, length: Math.min(length, this.size - offset) })) {
      if (test(extent)) return true;
    }
    return false;
  }
}
