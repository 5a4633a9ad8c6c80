import { assertOffset, Qcow2Error } from "../errors.ts";
import { flushStorage } from "./final-flush.ts";
import type { Storage, StorageExtent } from "./storage.ts";
import type { StoredBytes } from "./stored-bytes.ts";

export interface PartOfStorageOptions {
  /** First byte of the part. */
  readonly offset: number;
  /** Bytes of the part, which then neither grows nor shrinks; default: everything up to the end, which may move. */
  readonly length?: number | undefined;
}

/**
 * A range of another storage as a storage of its own: an image within a larger file, as in an archive or a partition.
 * It has the abilities that the whole has; closing it closes the whole.
 */
export class PartOfStorage implements Storage, AsyncDisposable {
  readonly name: string;
  readonly readOnly: boolean;
  readonly fixedSize: boolean;
  /** Where the part begins in the storage that holds the bytes, however many parts lie between. */
  readonly start: number;
  declare readonly extentAt?: (offset: number) => Promise<StorageExtent>;
  declare readonly punchHole?: (offset: number, length: number) => Promise<void>;
  declare readonly allocate?: (offset: number, length: number) => Promise<void>;
  declare readonly copyFrom?: (offset: number, from: StoredBytes) => Promise<boolean>;
  declare readonly allocatedBytes?: () => Promise<number>;
  readonly #whole: Storage;
  readonly #offset: number;
  readonly #length: number | undefined;

  private constructor(whole: Storage, { offset, length }: PartOfStorageOptions) {
    this.name = whole.name;
    this.readOnly = whole.readOnly;
    this.fixedSize = length !== undefined || whole.fixedSize === true;
    this.start = offset + startOfPart(whole);
    this.#whole = whole;
    this.#offset = offset;
    this.#length = length;
    if (whole.extentAt !== undefined) this.extentAt = (at) => this.#extentAt(at);
    if (whole.punchHole !== undefined) {
      this.punchHole = async (at, bytes) => {
        const clipped = this.#length === undefined ? bytes : Math.min(bytes, this.#length - at);
        if (clipped > 0) await whole.punchHole?.(at + offset, clipped);
      };
    }
    if (whole.allocate !== undefined) {
      this.allocate = async (at, bytes) => {
        this.#assertWithin(at + bytes);
        await whole.allocate?.(at + offset, bytes);
      };
    }
    if (whole.copyFrom !== undefined) {
      this.copyFrom = async (at, from) => {
        assertOffset(at, "offset");
        this.#assertWithin(at + from.length);
        return (await whole.copyFrom?.(at + offset, from)) ?? false;
      };
    }
    if (whole.allocatedBytes !== undefined) {
      this.allocatedBytes = async () => (await whole.allocatedBytes?.()) ?? 0;
    }
  }

  /**
   * The part of `whole`, which has to lie within it as it is now.
   * @throws Qcow2Error "out-of-range"
   */
  static async open(whole: Storage, options: PartOfStorageOptions): Promise<PartOfStorage> {
    const { offset, length } = options;
    assertOffset(offset, "offset");
    if (length !== undefined) assertOffset(length, "length");
    const size = await whole.size();
    const refuse = (message: string): never => {
      throw new Qcow2Error("out-of-range", message, { offset, length: length ?? 0, size });
    };
    if (offset > size) {
      refuse(`Offset (${offset}) cannot be greater than size of the containing file (${size})`);
    }
    if (length !== undefined && offset + length > size) {
      refuse(
        `The sum of offset (${offset}) and size (${length}) has to be smaller or equal to the  actual size of the containing file (${size})`,
      );
    }
    return new PartOfStorage(whole, options);
  }

  async size(): Promise<number> {
    return this.#length ?? Math.max(0, (await this.#whole.size()) - this.#offset);
  }

  async read(offset: number, into: Uint8Array): Promise<number> {
    assertOffset(offset, "offset");
    const length =
      this.#length === undefined ? into.length : Math.max(0, Math.min(into.length, this.#length - offset));
    return length === 0 ? 0 : await this.#whole.read(offset + this.#offset, into.subarray(0, length));
  }

  /** @throws Qcow2Error "unsupported" behind the end of a part whose length is fixed */
  async write(offset: number, from: Uint8Array): Promise<void> {
    assertOffset(offset, "offset");
    this.#assertWithin(offset + from.length);
    await this.#whole.write(offset + this.#offset, from);
  }

  /** @throws Qcow2Error "unsupported" if the length is fixed, and is another */
  async truncate(size: number): Promise<void> {
    assertOffset(size, "size");
    if (size === this.#length) return;
    if (this.#length !== undefined) throw fixedSize();
    await this.#whole.truncate(size + this.#offset);
  }

  async flush(): Promise<void> {
    await flushStorage(this.#whole);
  }

  async close(): Promise<void> {
    await this.#whole.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #extentAt(at: number): Promise<StorageExtent> {
    const found = await this.#whole.extentAt!(at + this.#offset);
    const length = this.#length === undefined ? found.length : Math.min(found.length, this.#length - at);
    return { kind: found.kind, offset: at, length };
  }

  #assertWithin(end: number): void {
    if (this.#length !== undefined && end > this.#length) throw fixedSize();
  }
}

/** Where byte 0 of `storage` lies in the storage that holds its bytes: 0, unless it is a part of another. */
export function startOfPart(storage: Storage): number {
  return storage instanceof PartOfStorage ? storage.start : 0;
}

function fixedSize(): Qcow2Error<"unsupported"> {
  return new Qcow2Error("unsupported", "Cannot resize fixed-size raw disks", { operation: "resize" });
}
