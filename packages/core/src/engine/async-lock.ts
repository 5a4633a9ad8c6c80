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

/** A range that a request holds or waits for. */
export class HeldRange {
  readonly start: number;
  readonly end: number;
  #released: Promise<void> | undefined;
  #onRelease: (() => void) | undefined;

  constructor(start: number, end: number) {
    this.start = start;
    this.end = end;
  }

  /** Made only for those who wait: as a rule nobody does. */
  get released(): Promise<void> {
    this.#released ??= new Promise((resolve) => (this.#onRelease = resolve));
    return this.#released;
  }

  release(): void {
    this.#onRelease?.();
  }
}

/** Ranges that touch more stretches than this are kept in a list of their own. */
const MAX_STRETCHES = 16;

/**
 * Keeps requests that touch the same range apart; others do not wait for each other. Time and memory of a call depend
 * on the requests nearby, not on all that are under way.
 */
export class RangeLock {
  readonly #narrow = new Map<number, Set<HeldRange>>();
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
    const range = new HeldRange(start, end);
    if (this.#isWide(range) || overlapsAny(this.#wide, range)) return undefined;
    const last = this.#stretchOf(end - 1);
    for (let stretch = this.#stretchOf(start); stretch <= last; stretch++) {
      const held = this.#narrow.get(stretch);
      if (held !== undefined && overlapsAny(held, range)) return undefined;
    }
    for (const held of this.#listsOf(range) as Set<HeldRange>[]) held.add(range);
    return range;
  }

  /** Runs `task` while it alone holds start .. end (exclusive), after every overlapping range asked for before it. */
  async run<Result>(start: number, end: number, task: () => Promise<Result>): Promise<Result> {
    const range = new HeldRange(start, end);
    const before = this.#enter(range);
    try {
      if (before.length > 0) await Promise.all(before);
      return await task();
    } finally {
      this.leave(range);
    }
  }

  /** Adds the range; returns what it has to wait for. */
  #enter(range: HeldRange): Promise<void>[] {
    const before = new Set<Promise<void>>();
    const lists = this.#listsOf(range);
    for (const held of [this.#wide, ...(lists ?? this.#narrow.values())]) {
      for (const earlier of held) {
        if (earlier.start >= range.end || range.start >= earlier.end) continue;
        before.add(earlier.released);
        // Whoever comes later and touches `earlier` touches this range, too, which is released after it.
        if (range.start <= earlier.start && earlier.end <= range.end) held.delete(earlier);
      }
    }
    for (const held of lists ?? [this.#wide]) held.add(range);
    return [...before];
  }

  leave(range: HeldRange): void {
    this.#remove(range);
    range.release();
  }

  #remove(range: HeldRange): void {
    this.#wide.delete(range);
    if (this.#isWide(range)) return;
    for (let stretch = this.#stretchOf(range.start); stretch <= this.#stretchOf(range.end - 1); stretch++) {
      const held = this.#narrow.get(stretch);
      held?.delete(range);
      if (held?.size === 0) this.#narrow.delete(stretch);
    }
  }

  /** The lists of the stretches that a range touches, made where there are none; undefined if it is too wide. */
  #listsOf(range: HeldRange): Set<HeldRange>[] | undefined {
    if (this.#isWide(range)) return undefined;
    const lists: Set<HeldRange>[] = [];
    for (let stretch = this.#stretchOf(range.start); stretch <= this.#stretchOf(range.end - 1); stretch++) {
      let held = this.#narrow.get(stretch);
      if (held === undefined) {
        held = new Set();
        this.#narrow.set(stretch, held);
      }
      lists.push(held);
    }
    return lists;
  }

  #stretchOf(position: number): number {
    return Math.floor(position / this.#stretch);
  }

  #isWide({ start, end }: HeldRange): boolean {
    return this.#stretchOf(end - 1) - this.#stretchOf(start) >= MAX_STRETCHES;
  }
}

function overlapsAny(held: ReadonlySet<HeldRange>, range: HeldRange): boolean {
  for (const other of held) if (other.start < range.end && range.start < other.end) return true;
  return false;
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
