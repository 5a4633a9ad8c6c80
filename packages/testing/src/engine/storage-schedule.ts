/** Storage operations that begin, and whose completion is seen, in an order drawn by a seed. */
import type { Storage } from "@qcow2/core";
import type { Random } from "../random.ts";
import { type StorageOperation, WrappedStorage } from "../wrapped-storage.ts";

/** How many turns a read waits before it happens: some take so long that much else comes and goes. */
const TURNS_OF_A_READ = [0, 0, 0, 0, 60, 300];

/** Lets those who wait go on, one at a time, whichever is drawn. */
export class Schedule {
  readonly #random: Random;
  #waiting: (() => void)[] = [];
  #isRunning = false;

  constructor(random: Random) {
    this.#random = random;
  }

  /** Resolves when it is the caller's turn. */
  turn(): Promise<void> {
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
      if (this.#isRunning) return;
      this.#isRunning = true;
      setImmediate(() => this.#next());
    });
  }

  async turnOfRead(): Promise<void> {
    for (let turns = this.#random.pick(TURNS_OF_A_READ); turns >= 0; turns--) await this.turn();
  }

  #next(): void {
    const index = this.#random.below(this.#waiting.length);
    const resolve = this.#waiting[index] as () => void;
    this.#waiting[index] = this.#waiting[this.#waiting.length - 1] as () => void;
    this.#waiting.pop();
    resolve();
    // Whoever went on may ask for the next turn before it is drawn.
    if (this.#waiting.length > 0) setImmediate(() => this.#next());
    else this.#isRunning = false;
  }
}

/** Every operation begins, and its completion is seen, in a turn of its own. */
export class ScheduledStorage extends WrappedStorage {
  readonly #schedule: Schedule;

  constructor(inner: Storage, schedule: Schedule) {
    super(inner);
    this.#schedule = schedule;
  }

  protected override async before({ kind }: StorageOperation): Promise<void> {
    await (kind === "read" ? this.#schedule.turnOfRead() : this.#schedule.turn());
  }

  override async write(offset: number, from: Uint8Array): Promise<void> {
    await super.write(offset, from);
    await this.#schedule.turn();
  }

  override async read(offset: number, into: Uint8Array): Promise<number> {
    const bytesRead = await super.read(offset, into);
    await this.#schedule.turn();
    return bytesRead;
  }
}
