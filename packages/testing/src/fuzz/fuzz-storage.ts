import type { Storage, StorageExtent, StoredBytes } from "@qcow2/core";

/** More was asked of a storage than a file of its size can be a reason for. */
export class BudgetExceeded extends Error {}

/** What may be asked of a storage before it is given up. */
export interface StorageBudget {
  readonly operations: number;
  /** Of all reads and writes together. */
  readonly bytes: number;
  /** Bytes that the file may grow to. */
  readonly size: number;
  /** Bytes of one read. */
  readonly readBytes: number;
}

/**
 * A file in memory that counts, and ends whoever asks for too much of it. Closing does nothing: what is left is looked
 * at afterwards.
 */
export class FuzzStorage implements Storage {
  readonly name: string;
  readonly readOnly = false;
  #bytes: Uint8Array;
  #size: number;
  #budget: StorageBudget | undefined;
  operations = 0;
  bytesMoved = 0;
  /** The first budget that was exceeded, also if somebody caught it. */
  exceeded: BudgetExceeded | undefined;
  /** Says that it occupies nothing. */
  readonly #sparse: boolean;

  constructor(options: {
    readonly name: string;
    /** Is changed. */
    readonly bytes: Uint8Array;
    readonly sparse?: boolean;
  }) {
    this.name = options.name;
    this.#bytes = options.bytes;
    this.#size = options.bytes.length;
    this.#sparse = options.sparse ?? false;
  }

  /** Begins to count anew. */
  limit(budget: StorageBudget | undefined): void {
    this.#budget = budget;
    this.operations = 0;
    this.bytesMoved = 0;
    this.exceeded = undefined;
  }

  /** A view, not a copy. */
  get content(): Uint8Array {
    return this.#bytes.subarray(0, this.#size);
  }

  async size(): Promise<number> {
    this.#count("size", 0);
    return this.#size;
  }

  async read(offset: number, into: Uint8Array): Promise<number> {
    assertPosition(offset);
    this.#count("read", into.length);
    if (this.#budget !== undefined && into.length > this.#budget.readBytes) {
      this.#exceed(`a read of ${into.length} bytes`);
    }
    const length = Math.max(0, Math.min(into.length, this.#size - offset));
    into.set(this.#bytes.subarray(offset, offset + length));
    return length;
  }

  async write(offset: number, from: Uint8Array): Promise<void> {
    assertPosition(offset);
    assertPosition(offset + from.length);
    this.#count("write", from.length);
    if (from.length === 0) return;
    this.#grow(offset + from.length);
    this.#bytes.set(from, offset);
  }

  async truncate(size: number): Promise<void> {
    assertPosition(size);
    this.#count("truncate", 0);
    if (size > this.#size) this.#grow(size);
    else this.#bytes.fill(0, size, this.#size);
    this.#size = size;
  }

  async flush(): Promise<void> {
    this.#count("flush", 0);
  }

  async close(): Promise<void> {}

  async extentAt(offset: number): Promise<StorageExtent> {
    assertPosition(offset);
    this.#count("extentAt", 0);
    if (offset >= this.#size) throw new RangeError(`offset ${offset} is not before the end (${this.#size})`);
    return { kind: "data", offset, length: this.#size - offset };
  }

  async punchHole(offset: number, length: number): Promise<void> {
    assertPosition(offset);
    assertPosition(length);
    this.#count("punchHole", 0);
    this.#bytes.fill(0, offset, Math.min(offset + length, this.#size));
  }

  async copyFrom(offset: number, from: StoredBytes): Promise<boolean> {
    const bytes = new Uint8Array(from.length);
    if ((await from.storage.read(from.offset, bytes)) < bytes.length) return false;
    await this.write(offset, bytes);
    return true;
  }

  async allocatedBytes(): Promise<number> {
    this.#count("allocatedBytes", 0);
    return this.#sparse ? 0 : this.#size;
  }

  #grow(end: number): void {
    if (end <= this.#size) return;
    if (this.#budget !== undefined && end > this.#budget.size) {
      this.#exceed(`the file of ${this.#size} bytes would grow to ${end}`);
    }
    if (end > this.#bytes.length) {
      // From a buffer: this is not the memory that is watched.
      const room = new ArrayBuffer(Math.max(end, Math.min(this.#bytes.length * 2, end + 2 ** 20)));
      const larger = new Uint8Array(room);
      larger.set(this.#bytes.subarray(0, this.#size));
      this.#bytes = larger;
    }
    this.#size = end;
  }

  #count(kind: string, bytes: number): void {
    this.operations++;
    this.bytesMoved += bytes;
    const budget = this.#budget;
    if (budget === undefined) return;
    if (this.operations > budget.operations)
      this.#exceed(`${this.operations} operations, the last a ${kind}`);
    if (this.bytesMoved > budget.bytes) this.#exceed(`${this.bytesMoved} bytes moved, the last by a ${kind}`);
  }

  #exceed(what: string): never {
    this.exceeded ??= new BudgetExceeded(`${this.name}: ${what}`);
    throw this.exceeded;
  }
}

function assertPosition(value: number): void {
  if (!Number.isSafeInteger(value) || value < 0) {
    throw new RangeError(`a storage was asked for position ${value}`);
  }
}
