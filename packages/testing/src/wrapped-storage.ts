import type { Storage, StorageExtent, StoredBytes } from "@qcow2/core";

/** An operation of a storage, as wrappers see it. */
export interface StorageOperation {
  readonly kind:
    | "size"
    | "read"
    | "write"
    | "truncate"
    | "flush"
    | "close"
    | "extentAt"
    | "punchHole"
    | "allocate"
    | "copyFrom"
    | "allocatedBytes";
  /** Bytes; 0 where the operation has none. */
  readonly offset: number;
  /** Bytes; for "truncate" the new size. */
  readonly length: number;
}

/**
 * Passes everything on to another storage and lets `before` see, refuse or delay each operation. It has the
 * optional abilities that the inner storage has, and no others.
 */
export class WrappedStorage implements Storage {
  readonly name: string;
  readonly readOnly: boolean;
  readonly fixedSize: boolean | undefined;
  readonly #inner: Storage;
  declare extentAt?: (offset: number) => Promise<StorageExtent>;
  declare punchHole?: (offset: number, length: number) => Promise<void>;
  declare allocate?: (offset: number, length: number) => Promise<void>;
  declare copyFrom?: (offset: number, from: StoredBytes) => Promise<boolean>;
  declare allocatedBytes?: () => Promise<number>;

  constructor(inner: Storage) {
    this.#inner = inner;
    this.name = inner.name;
    this.readOnly = inner.readOnly;
    this.fixedSize = inner.fixedSize;
    if (inner.extentAt !== undefined) {
      this.extentAt = async (offset) => {
        await this.before({ kind: "extentAt", offset, length: 0 });
        return await inner.extentAt!(offset);
      };
    }
    if (inner.punchHole !== undefined) {
      this.punchHole = async (offset, length) => {
        await this.before({ kind: "punchHole", offset, length });
        await inner.punchHole!(offset, length);
      };
    }
    if (inner.allocate !== undefined) {
      this.allocate = async (offset, length) => {
        await this.before({ kind: "allocate", offset, length });
        await inner.allocate!(offset, length);
      };
    }
    if (inner.copyFrom !== undefined) {
      this.copyFrom = async (offset, from) => {
        await this.before({ kind: "copyFrom", offset, length: from.length });
        return await inner.copyFrom!(offset, from);
      };
    }
    if (inner.allocatedBytes !== undefined) {
      this.allocatedBytes = async () => {
        await this.before({ kind: "allocatedBytes", offset: 0, length: 0 });
        return await inner.allocatedBytes!();
      };
    }
  }

  /** Called before each operation; throwing keeps it from happening. `from` is what a write would write. */
  protected async before(_operation: StorageOperation, _from?: Uint8Array): Promise<void> {}

  async size(): Promise<number> {
    await this.before({ kind: "size", offset: 0, length: 0 });
    return await this.#inner.size();
  }

  async read(offset: number, into: Uint8Array): Promise<number> {
    await this.before({ kind: "read", offset, length: into.length });
    return await this.#inner.read(offset, into);
  }

  async write(offset: number, from: Uint8Array): Promise<void> {
    await this.before({ kind: "write", offset, length: from.length }, from);
    await this.#inner.write(offset, from);
  }

  async truncate(size: number): Promise<void> {
    await this.before({ kind: "truncate", offset: 0, length: size });
    await this.#inner.truncate(size);
  }

  async flush(): Promise<void> {
    await this.before({ kind: "flush", offset: 0, length: 0 });
    await this.#inner.flush();
  }

  async close(): Promise<void> {
    await this.before({ kind: "close", offset: 0, length: 0 });
    await this.#inner.close();
  }
}
