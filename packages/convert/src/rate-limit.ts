/** Holds a stream of writes to a number of bytes per second, without bursts after a pause. */
export class RateLimit {
  readonly #bytesPerMillisecond: number;
  readonly #signal: AbortSignal | undefined;
  #nextFreeMs = 0;

  constructor(bytesPerSecond: number, signal?: AbortSignal) {
    if (!(bytesPerSecond > 0)) throw new RangeError(`the rate limit must be above 0, not ${bytesPerSecond}`);
    this.#bytesPerMillisecond = bytesPerSecond / 1000;
    this.#signal = signal;
  }

  /** Resolves when `bytes` more may be written. @throws the signal's reason if it is aborted meanwhile. */
  async take(bytes: number): Promise<void> {
    const now = performance.now();
    const startMs = Math.max(now, this.#nextFreeMs);
    this.#nextFreeMs = startMs + bytes / this.#bytesPerMillisecond;
    if (startMs > now) await sleep(startMs - now, this.#signal);
  }
}

function sleep(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const onAbort = (): void => {
      clearTimeout(timer);
      reject(signal?.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", onAbort);
      resolve();
    }, ms);
    signal?.addEventListener("abort", onAbort, { once: true });
  });
}
