/**
 * Tasks of one job, a bounded number at a time. The first failure decides: no task is started after it, and
 * {@link finish} reports it once every task that was started has come to its end, so that nothing is left running.
 */
export class TaskGroup {
  readonly #limit: number;
  #running = 0;
  #failure: { readonly error: unknown } | undefined;
  #wake: (() => void) | undefined;

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** True once a task failed or {@link fail} was called: tasks should come to their end soon. */
  get failed(): boolean {
    return this.#failure !== undefined;
  }

  fail(error: unknown): void {
    this.#failure ??= { error };
    this.#wake?.();
  }

  /** Waits until a task may be started; true if it may, false if the group has failed. For one waiter at a time. */
  async vacancy(): Promise<boolean> {
    while (this.#running >= this.#limit && !this.failed) await this.#change();
    return !this.failed;
  }

  start(task: () => Promise<void>): void {
    this.#running++;
    void this.#run(task);
  }

  /** Waits for all tasks. @throws what the first failed task threw. */
  async finish(): Promise<void> {
    while (this.#running > 0) await this.#change();
    if (this.#failure !== undefined) throw this.#failure.error;
  }

  async #run(task: () => Promise<void>): Promise<void> {
    try {
      await task();
    } catch (error) {
      this.fail(error);
    } finally {
      this.#running--;
      this.#wake?.();
    }
  }

  #change(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }
}

/** A place in a {@link Queue}. */
export interface Turn {
  /** Resolves when every turn that was taken earlier has ended. It never rejects. */
  readonly begins: Promise<void>;
  /** Lets the next one begin. It must be called, whatever happens. */
  end(): void;
}

/** Lets tasks that run side by side do one part of their work one after the other, in the order of their tickets. */
export class Queue {
  #last: Promise<void> = Promise.resolve();

  takeTurn(): Turn {
    const begins = this.#last;
    let end = (): void => {};
    const ended = new Promise<void>((resolve) => {
      end = resolve;
    });
    this.#last = begins.then(() => ended);
    return { begins, end };
  }
}

/** The queue of whoever need not wait: every turn begins at once. */
export const noOrder: Pick<Queue, "takeTurn"> = {
  takeTurn: () => ({ begins: Promise.resolve(), end: () => {} }),
};
