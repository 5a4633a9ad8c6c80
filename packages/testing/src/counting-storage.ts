import { type StorageOperation, WrappedStorage } from "./wrapped-storage.ts";

/** Counts operations and bytes, so that the cost of something can be asserted. */
export class CountingStorage extends WrappedStorage {
  readonly #counts = new Map<StorageOperation["kind"], number>();
  #bytesRead = 0;
  #bytesWritten = 0;

  /** How often an operation was called. */
  count(kind: StorageOperation["kind"]): number {
    return this.#counts.get(kind) ?? 0;
  }

  /** Bytes asked for by reads, whether or not the storage had them. */
  get bytesRead(): number {
    return this.#bytesRead;
  }

  get bytesWritten(): number {
    return this.#bytesWritten;
  }

  reset(): void {
    this.#counts.clear();
    this.#bytesRead = 0;
    this.#bytesWritten = 0;
  }

  protected override async before(operation: StorageOperation): Promise<void> {
    this.#counts.set(operation.kind, this.count(operation.kind) + 1);
    if (operation.kind === "read") this.#bytesRead += operation.length;
    if (operation.kind === "write") this.#bytesWritten += operation.length;
  }
}
