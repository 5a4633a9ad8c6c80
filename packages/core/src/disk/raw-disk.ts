import { assertOffset, Qcow2Error, refuseOption } from "../errors.ts";
import { SECTOR_SIZE } from "../limits.ts";
import { flushStorage } from "../storage/final-flush.ts";
import { startOfPart } from "../storage/part-of-storage.ts";
import { readOrZeroes } from "../storage/read-exactly.ts";
import type { Storage } from "../storage/storage.ts";
import type { StoredBytes } from "../storage/stored-bytes.ts";
import { writeZeroBytes } from "../storage/write-zeroes.ts";
import type {
  DiskRange,
  DiskReadableOptions,
  DiskResizeOptions,
  DiskWritableOptions,
  Extent,
  WritableDisk,
} from "./disk.ts";
import { assertDiskBytes, assertDiskRange, clipRange } from "./disk-range.ts";
import { diskReadable, diskWritable } from "./disk-streams.ts";
import { PROBE_BYTES, probeFormat } from "./probe-format.ts";

export interface RawDiskOptions {
  readonly storage: Storage;
  /** Default: as the storage is. */
  readonly readOnly?: boolean | undefined;
  /**
   * The format was not told, but guessed from what is stored. Then no write may make it look like an image of another
   * format: whoever guesses again would follow what that image names. Default false.
   */
  readonly isGuessed?: boolean | undefined;
  /** Virtual size in bytes; default: the storage's size, rounded up to a multiple of 512 as QEMU does. */
  readonly size?: number | undefined;
}

/** A raw image: guest byte n is byte n of the storage. Bytes beyond the storage's end read as zeroes. */
export class RawDisk implements WritableDisk {
  readonly format = "raw";
  readonly name: string;
  readonly readOnly: boolean;
  readonly storage: Storage;
  readonly #isGuessed: boolean;
  #size: number;
  /** Writes to what a format is guessed from, one after the other: what each makes of it is looked at first. */
  #guarded: Promise<void> = Promise.resolve();

  private constructor(storage: Storage, size: number, { readOnly, isGuessed = false }: RawDiskOptions) {
    this.storage = storage;
    this.name = storage.name;
    this.#size = size;
    this.#isGuessed = isGuessed;
    this.readOnly = readOnly ?? storage.readOnly;
  }

  static async open(options: RawDiskOptions): Promise<RawDisk> {
    const { storage } = options;
    const size = options.size ?? Math.ceil((await storage.size()) / SECTOR_SIZE) * SECTOR_SIZE;
    return new RawDisk(storage, size, options);
  }

  /** Virtual size in bytes. */
  get size(): number {
    return this.#size;
  }

  async read(request: { readonly offset: number; readonly into: Uint8Array }): Promise<void> {
    assertDiskBytes(request.offset, request.into, this.size);
    await readOrZeroes(this.storage, request.offset, request.into);
  }

  async *map(range: DiskRange & { readonly signal?: AbortSignal | undefined } = {}): AsyncGenerator<Extent> {
    const { start, end } = clipRange(range, this.size);
    const fileSize = await this.storage.size();
    for (let offset = start; offset < end; ) {
      range.signal?.throwIfAborted();
      const extent = await this.#extentAt(offset, end, fileSize);
      yield extent;
      offset += extent.length;
    }
  }

  async write(request: { readonly offset: number; readonly from: Uint8Array }): Promise<void> {
    assertDiskBytes(request.offset, request.from, this.size);
    this.#assertWritable();
    if (this.#isGuarded(request.offset)) await this.#writeGuarded(request.offset, request.from);
    else await this.storage.write(request.offset, request.from);
  }

  storedAt({ kind, offset, length }: Extent): StoredBytes | undefined {
    return kind === "data" ? { storage: this.storage, offset, length } : undefined;
  }

  async writeStored(request: { readonly offset: number; readonly from: StoredBytes }): Promise<boolean> {
    assertDiskRange(request.offset, request.from.length, this.size);
    this.#assertWritable();
    if (this.#isGuarded(request.offset)) return false;
    return (await this.storage.copyFrom?.(request.offset, request.from)) ?? false;
  }

  async writeZeroes(request: {
    readonly offset: number;
    readonly length: number;
    readonly unmap?: boolean | undefined;
    readonly signal?: AbortSignal | undefined;
  }): Promise<void> {
    request.signal?.throwIfAborted();
    assertDiskRange(request.offset, request.length, this.size);
    this.#assertWritable();
    const end = request.offset + request.length;
    const fileSize = await this.storage.size();
    // Truncating to `end` would cut off what another request has written behind it meanwhile.
    if (end > fileSize && request.length > 0) await this.storage.write(end - 1, new Uint8Array(1));
    const storedLength = Math.min(end, fileSize) - request.offset;
    if (storedLength <= 0) return;
    if (request.unmap === true && this.storage.punchHole !== undefined) {
      await this.storage.punchHole(request.offset, storedLength);
      return;
    }
    await writeZeroBytes(this.storage, request.offset, storedLength, request.signal);
  }

  /** Punches a hole where the storage can do that; else the range stays as it is. */
  async discard(request: {
    readonly offset: number;
    readonly length: number;
    readonly signal?: AbortSignal | undefined;
  }): Promise<void> {
    assertDiskRange(request.offset, request.length, this.size);
    this.#assertWritable();
    const storedLength =
      Math.min(request.offset + request.length, await this.storage.size()) - request.offset;
    if (storedLength > 0) await this.storage.punchHole?.(request.offset, storedLength);
  }

  /**
   * Makes the storage longer or shorter, to the byte; the disk has whole sectors. "metadata" is no preallocation that a raw image has.
   * @throws Qcow2Error "invalid-option", "read-only", "io"
   */
  async resize({ size, shrink = false, preallocation = "off", signal }: DiskResizeOptions): Promise<void> {
    assertOffset(size, "size");
    this.#assertWritable();
    signal?.throwIfAborted();
    if (preallocation === "metadata")
      refuseOption("preallocation", "Unsupported preallocation mode: metadata");
    if (size < this.#size && preallocation !== "off") {
      refuseOption("preallocation", "Cannot use preallocation for shrinking files");
    }
    if (size < this.#size && !shrink) {
      refuseOption("shrink", "Shrinking deletes what lies behind the new size, and was not asked for");
    }
    const oldSize = await this.storage.size();
    const added = Math.max(0, size - oldSize);
    try {
      if (added > 0 && preallocation === "falloc" && this.storage.allocate !== undefined) {
        await this.storage.allocate(oldSize, added);
      } else if (added > 0 && preallocation !== "off") {
        await writeZeroBytes(this.storage, oldSize, added, signal);
      }
      if ((await this.storage.size()) !== size) await this.storage.truncate(size);
    } catch (error) {
      if (size > oldSize) await this.storage.truncate(oldSize).catch(() => undefined);
      throw error;
    }
    this.#size = Math.ceil(size / SECTOR_SIZE) * SECTOR_SIZE;
  }

  readable(options?: DiskReadableOptions): ReadableStream<Uint8Array<ArrayBuffer>> {
    return diskReadable(this, options);
  }

  writable(options?: DiskWritableOptions): WritableStream<Uint8Array> {
    return diskWritable(this, options);
  }

  async flush(): Promise<void> {
    if (!this.readOnly) await flushStorage(this.storage);
  }

  async close(): Promise<void> {
    await this.storage.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #extentAt(offset: number, end: number, fileSize: number): Promise<Extent> {
    const hostOffset = offset + startOfPart(this.storage);
    const base = { offset, present: true, depth: 0, hostOffset, compressed: false } as const;
    if (offset >= fileSize) return { ...base, length: end - offset, kind: "zero", stored: false };
    const found = (await this.storage.extentAt?.(offset)) ?? { kind: "data", length: fileSize - offset };
    const isData = found.kind === "data";
    const length = Math.min(found.length, end - offset);
    return { ...base, length, kind: isData ? "data" : "zero", stored: isData };
  }

  #isGuarded(offset: number): boolean {
    return this.#isGuessed && offset < PROBE_BYTES;
  }

  /** @throws Qcow2Error "format-guessed" */
  async #writeGuarded(offset: number, from: Uint8Array): Promise<void> {
    const before = this.#guarded;
    const write = (async () => {
      await before;
      const start = new Uint8Array(Math.min(PROBE_BYTES, this.size));
      await readOrZeroes(this.storage, 0, start);
      start.set(from.subarray(0, start.length - offset), offset);
      const format = probeFormat(start);
      if (format === "raw") return await this.storage.write(offset, from);
      throw new Qcow2Error(
        "format-guessed",
        `'${this.name}' would look like an image of the format '${format}' afterwards, and that it is raw was only guessed: if it is, say so`,
        { name: this.name, format },
      );
    })();
    // The next one only waits for it; whoever asked for it has its failure.
    this.#guarded = write.catch(() => undefined);
    await write;
  }

  #assertWritable(): void {
    if (this.readOnly) throw new Qcow2Error("read-only", `${this.name} is read-only`, { name: this.name });
  }
}
