/** Locks for asynchronous code: waiters are served in the order of their calls. */

/** Runs one task at a time. */
export class Mutex {
  #last: Promise<unknown> = Promise.resolve();

  /** Runs `task` when all tasks before it have ended, whether or not they failed. */
  run<Result>(task: () => Promise<Result>): Promise<Result> {
    const result = this.#last.then(task);
    this.#last = result.catch(() => undefined);
    return result;
  }
}

interface HeldRange {
  readonly start: number;
  readonly end: number;
  readonly released: Promise<void>;
}

/** Keeps requests that touch the same range apart; others do not wait for each other. */
export class RangeLock {
  readonly #held = new Set<HeldRange>();

  /** Runs `task` while it alone holds start .. end (exclusive), after every overlapping range asked for before it. */
  async run<Result>(start: number, end: number, task: () => Promise<Result>): Promise<Result> {
    const before: Promise<void>[] = [];
    for (const range of this.#held) if (range.start < end && start < range.end) before.push(range.released);
    let release = (): void => undefined;
    const range: HeldRange = { start, end, released: new Promise((resolve) => (release = resolve)) };
    this.#held.add(range);
    try {
      if (before.length > 0) await Promise.all(before);
      return await task();
    } finally {
      this.#held.delete(range);
      release();
    }
  }
}

interface Epoch {
  active: number;
  onIdle: (() => void) | undefined;
}

/**
 * Tells when all work that was under way at a moment has ended. Host clusters that were freed are not used again
 * before every read that may still look at them is over.
 */
export class Epochs {
  #current: Epoch = { active: 0, onIdle: undefined };
  #previous: Promise<void> = Promise.resolve();

  /** Runs `work` as part of the current epoch. */
  async run<Result>(work: () => Promise<Result>): Promise<Result> {
    const epoch = this.#current;
    epoch.active++;
    try {
      return await work();
    } finally {
      epoch.active--;
      if (epoch.active === 0) epoch.onIdle?.();
    }
  }

  /** Begins a new epoch and resolves when everything that ran in earlier ones has ended. */
  drain(): Promise<void> {
    const epoch = this.#current;
    this.#current = { active: 0, onIdle: undefined };
    const idle =
      epoch.active === 0
        ? Promise.resolve()
        : new Promise<void>((resolve) => (epoch.onIdle = () => resolve()));
    this.#previous = Promise.all([this.#previous, idle]).then(() => undefined);
    return this.#previous;
  }
}
