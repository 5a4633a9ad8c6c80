/**
 * Flushes of which a failed one is final. A host tells of data that it lost once, to whoever flushes next, and forgets it:
 * a flush beside or after that one would succeed although what it promises is not on the disk.
 */
import type { Storage } from "./storage.ts";

export class FinalFlush {
  readonly #flush: () => Promise<void>;
  #failure: { readonly error: unknown } | undefined;
  #running: Promise<void> | undefined;
  /** The one that begins when the running one has ended, for all who have asked since that began. */
  #next: Promise<void> | undefined;

  /** `flush` makes durable what was written before; it is never called twice at the same time. */
  constructor(flush: () => Promise<void>) {
    this.#flush = flush;
  }

  /** The flush that failed, if one did. */
  get failure(): { readonly error: unknown } | undefined {
    return this.#failure;
  }

  /** Resolves when everything written before the call is durable; rejects for good once that has failed. */
  flush(): Promise<void> {
    if (this.#running === undefined) return this.#begin();
    this.#next ??= this.#running.then(
      () => this.#begin(),
      () => this.#begin(),
    );
    return this.#next;
  }

  #begin(): Promise<void> {
    this.#next = undefined;
    const running = this.#run();
    this.#running = running;
    return running;
  }

  async #run(): Promise<void> {
    try {
      if (this.#failure !== undefined) throw this.#failure.error;
      await this.#flush();
    } catch (error) {
      this.#failure ??= { error };
      throw error;
    } finally {
      // Whoever waits for the end of this one begins the next one.
      if (this.#next === undefined) this.#running = undefined;
    }
  }
}

const FLUSHES = new WeakMap<Storage, FinalFlush>();

/** The flushes of a storage, for all who share it: images, disks and parts of it. */
export function flushesOf(storage: Storage): FinalFlush {
  let flushes = FLUSHES.get(storage);
  if (flushes === undefined) {
    flushes = new FinalFlush(() => storage.flush());
    FLUSHES.set(storage, flushes);
  }
  return flushes;
}

/** {@link Storage.flush}; once it has failed, it fails whoever asks, until the storage is opened anew. */
export function flushStorage(storage: Storage): Promise<void> {
  return flushesOf(storage).flush();
}
