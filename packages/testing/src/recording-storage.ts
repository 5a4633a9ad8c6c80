import { type StorageOperation, WrappedStorage } from "./wrapped-storage.ts";

export interface RecordedOperation extends StorageOperation {
  /** A copy of what was written; only for writes. */
  readonly bytes?: Uint8Array;
}

/** Remembers every operation in order; what was written can be replayed up to any point. */
export class RecordingStorage extends WrappedStorage {
  readonly operations: RecordedOperation[] = [];

  protected override async before(operation: StorageOperation, from?: Uint8Array): Promise<void> {
    this.operations.push(from === undefined ? operation : { ...operation, bytes: from.slice() });
  }
}
