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

/** A range that a request holds or waits for. One is made for every write: no more than plain fields. */
export interface HeldRange {
  readonly start: number;
  readonly end: number;
  /** Made only for those who wait: as a rule nobody does. */
  released: Promise<void> | undefined;
  onRelease: (() => void) | undefined;
}

/** Ranges that touch more stretches than this are kept in a list of their own. */
const MAX_STRETCHES = 16;

/**
 * Keeps requests that touch the same range apart; others do not wait for each other. Time and memory of a call depend
 * on the requests nearby, not on all that are under way.
 */
export class RangeLock {
  /** By stretch; arrays, because as a rule they are short and looked through far more often than changed. */
  readonly #narrow = new Map<number, HeldRange[]>();
  readonly #wide = new Set<HeldRange>();
  readonly #stretch: number;

  /** Ranges are kept in lists, by the stretches of `stretch` positions that they touch. */
  constructor(stretch: number = 64) {
    this.#stretch = stretch;
  }

  /**
   * Holds start .. end (exclusive) at once, until {@link leave} is called; undefined if another request holds a part of
   * it or waits for one.
   */
  tryEnter(start: number, end: number): HeldRange | undefined {
    const first = this.#stretchOf(start);
    const last = this.#stretchOf(end - 1);
    if (last - first >= MAX_STRETCHES) return undefined;
    for (const wide of this.#wide) if (overlaps(wide, start, end)) return undefined;
    for (let stretch = first; stretch <= last; stretch++) {
      const held = this.#narrow.get(stretch);
      if (held !== undefined && overlapsAny(held, start, end)) return undefined;
    }
    const range: HeldRange = { start, end, released: undefined, onRelease: undefined };
    for (let stretch = first; stretch <= last; stretch++) this.#listOf(stretch).push(range);
    return range;
  }

  /** Runs `task` while it alone holds start .. end (exclusive), after every overlapping range asked for before it. */
  async run<Result>(start: number, end: number, task: () => Promise<Result>): Promise<Result> {
    const range: HeldRange = { start, end, released: undefined, onRelease: undefined };
    const before = this.#enter(range);
    try {
      if (before.length > 0) await Promise.all(before);
      return await task();
    } finally {
      this.leave(range);
    }
  }

  /** Gives up what {@link tryEnter} returned. */
  leave(range: HeldRange): void {
    if (this.#isWide(range)) {
      this.#wide.delete(range);
    } else {
      const last = this.#stretchOf(range.end - 1);
      for (let stretch = this.#stretchOf(range.start); stretch <= last; stretch++) {
        const held = this.#narrow.get(stretch);
        if (held === undefined) continue;
        remove(held, range);
        if (held.length === 0) this.#narrow.delete(stretch);
      }
    }
    range.onRelease?.();
  }

  /** Adds the range; returns what it has to wait for. */
  #enter(range: HeldRange): Promise<void>[] {
    const before = new Set<Promise<void>>();
    const isWide = this.#isWide(range);
    for (const earlier of this.#wide) {
      if (!overlaps(earlier, range.start, range.end)) continue;
      before.add(releaseOf(earlier));
      if (isWithin(earlier, range)) this.#wide.delete(earlier);
    }
    const lists = isWide ? this.#narrow.values() : this.#listsOf(range);
    for (const held of lists) {
      let kept = 0;
      for (const earlier of held) {
        const isBefore = overlaps(earlier, range.start, range.end);
        if (isBefore) before.add(releaseOf(earlier));
        // Whoever comes later and touches `earlier` touches this range, too, which is released after it.
        if (!isBefore || !isWithin(earlier, range)) held[kept++] = earlier;
      }
      held.length = kept;
      if (!isWide) held.push(range);
    }
    if (isWide) this.#wide.add(range);
    return [...before];
  }

  /** The lists of the stretches that a range touches, made where there are none. */
  #listsOf(range: HeldRange): HeldRange[][] {
    const first = this.#stretchOf(range.start);
    const count = this.#stretchOf(range.end - 1) - first + 1;
    return Array.from({ length: count }, (_, index) => this.#listOf(first + index));
  }

  #listOf(stretch: number): HeldRange[] {
    let held = this.#narrow.get(stretch);
    if (held === undefined) {
      held = [];
      this.#narrow.set(stretch, held);
    }
    return held;
  }

  #stretchOf(position: number): number {
    return Math.floor(position / this.#stretch);
  }

  #isWide({ start, end }: HeldRange): boolean {
    return this.#stretchOf(end - 1) - this.#stretchOf(start) >= MAX_STRETCHES;
  }
}

function releaseOf(range: HeldRange): Promise<void> {
  range.released ??= new Promise((resolve) => {
    range.onRelease = resolve;
  });
  return range.released;
}

function overlaps(held: HeldRange, start: number, end: number): boolean {
  return held.start < end && start < held.end;
}

function overlapsAny(held: readonly HeldRange[], start: number, end: number): boolean {
  for (const other of held) if (overlaps(other, start, end)) return true;
  return false;
}

function isWithin(inner: HeldRange, outer: HeldRange): boolean {
  return outer.start <= inner.start && inner.end <= outer.end;
}

/** Takes `range` out, if it is there; the order of the others does not matter. */
function remove(held: HeldRange[], range: HeldRange): void {
  const index = held.indexOf(range);
  if (index === -1) return;
  const last = held.pop() as HeldRange;
  if (index < held.length) held[index] = last;
}

/**
 * Runs `enter`, which waits for its turn and calls `onTurn` when it has come. Until then an aborted `signal` ends the
 * waiting at once, and `onTurn` throws its reason; afterwards the work itself has to look at it.
 */
export function enterUnlessAborted<Result>(
  signal: AbortSignal | undefined,
  enter: (onTurn: () => void) => Promise<Result>,
): Promise<Result> {
  if (signal === undefined) return enter(() => undefined);
  if (signal.aborted) return Promise.reject(signal.reason);
  return new Promise<Result>((resolve, reject) => {
    const onAbort = (): void => reject(signal.reason);
    const stopListening = (): void => signal.removeEventListener("abort", onAbort);
    signal.addEventListener("abort", onAbort);
    enter(() => {
      stopListening();
      signal.throwIfAborted();
    })
      .then(resolve, reject)
      .finally(stopListening);
  });
}

/** Work that began at the same time, as far as {@link Epochs.drain} tells. */
export interface Epoch {
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
    const epoch = this.enter();
    try {
      return await work();
    } finally {
      this.leave(epoch);
    }
  }

  /** As {@link run}, for whoever cannot spare a promise; {@link leave} has to be called with what it returns. */
  enter(): Epoch {
    this.#current.active++;
    return this.#current;
  }

  leave(epoch: Epoch): void {
    epoch.active--;
    if (epoch.active === 0) epoch.onIdle?.();
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
