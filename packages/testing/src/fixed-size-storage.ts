import { Qcow2Error, type Storage } from "@qcow2/core";
import { type StorageOperation, WrappedStorage } from "./wrapped-storage.ts";

/** A storage like a block device: what lies behind its end cannot be written, and nothing makes it longer or shorter. */
export class FixedSizeStorage extends WrappedStorage {
  override readonly fixedSize = true;
  readonly #size: number;

  /** `size` is how long `inner` is, in bytes. */
  constructor(inner: Storage, size: number) {
    super(inner);
    this.#size = size;
  }

  protected override async before({ kind, offset, length }: StorageOperation): Promise<void> {
    const grows = kind === "write" || kind === "allocate" || kind === "copyFrom" || kind === "truncate";
    if (!grows || offset + length <= this.#size) return;
    throw new Qcow2Error("io", `No space left on '${this.name}'`, {
      operation: kind,
      name: this.name,
      offset,
      errno: "ENOSPC",
    });
  }

  override async truncate(size: number): Promise<void> {
    await this.before({ kind: "truncate", offset: 0, length: size });
  }
}
