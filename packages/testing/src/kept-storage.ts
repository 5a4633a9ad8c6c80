import { WrappedStorage } from "./wrapped-storage.ts";

/** Survives the disk that closes it: what is on it can be opened again. */
export class KeptStorage extends WrappedStorage {
  override async close(): Promise<void> {}
}
