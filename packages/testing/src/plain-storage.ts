import type { Storage } from "@qcow2/core";
import { WrappedStorage } from "./wrapped-storage.ts";

/** A storage that can only do what every storage must: no holes, no reservations. */
export class PlainStorage extends WrappedStorage {
  constructor(inner: Storage) {
    super(inner);
    delete this.extentAt;
    delete this.punchHole;
    delete this.allocate;
    delete this.allocatedBytes;
  }
}
