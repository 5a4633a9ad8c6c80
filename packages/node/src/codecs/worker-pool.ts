import { setImmediate } from "node:timers/promises";
import type { Worker } from "node:worker_threads";
import { Qcow2Error } from "@qcow2/core";
import type { CodecAnswer, CodecTask } from "./codec-job.ts";
import { CodecThread, type PendingTask } from "./codec-thread.ts";
import { doCodecTask } from "./do-codec-task.ts";
import { memoryError } from "./memory-error.ts";
import { startCodecWorker } from "./start-codec-worker.ts";

/** Jobs given to one worker at a time: one to work on, and one so that it need not wait for the next. */
const JOBS_PER_WORKER = 2;
/** A task that so many workers did not survive is no more given to one. */
const MAX_LOST = 2;
/** Where the host gives no thread, it is not asked again at once: each attempt costs more than a small task. */
const START_AGAIN_MS = 100;

/**
 * Compresses and decompresses on worker threads. They are started when there is work for them, and keep the process
 * alive only while there is.
 *
 * Threads fail: the host may refuse them, for a while or for good, and a worker may end at any moment. What a worker had is
 * then done by another one from its beginning, and what no worker can do is done on the calling thread, piece by piece. So
 * a task fails by its data alone, or because the pool was closed.
 */
export class WorkerPool {
  readonly #maxThreads: number;
  readonly #startWorker: () => Worker;
  readonly #threads = new Set<CodecThread>();
  readonly #waiting: PendingTask[] = [];
  /** Those that go to no worker any more. */
  readonly #waitingHere: PendingTask[] = [];
  /** The task that the calling thread is at. */
  #workHere: Promise<void> | undefined;
  #startAgainAt = 0;
  #closed = false;

  /** At most `threads` workers; `startWorker` makes one, or throws. */
  constructor(threads: number, startWorker: () => Worker = startCodecWorker) {
    this.#maxThreads = threads;
    this.#startWorker = startWorker;
  }

  /** True once the pool was closed: every task is refused then. */
  get closed(): boolean {
    return this.#closed;
  }

  /**
   * Does a task. Its buffers belong to the pool until the promise settles, and never after: nobody reads or writes them
   * any more, also if it rejects.
   * @returns the bytes that each piece has in the output
   * @throws Qcow2Error "closed", "out-of-memory"; Error if a piece cannot be compressed or is damaged
   */
  run(task: CodecTask): Promise<readonly number[]> {
    return new Promise((resolve, reject) => {
      if (this.#closed) throw closedError();
      const answered = (answer: CodecAnswer): void => {
        if ("lengths" in answer) resolve(answer.lengths);
        // Here it fails with the error itself, or not at all: the worker may have had less memory.
        else if (task.operation === "compress" || answer.outOfMemory) this.#waitingHere.push(pending);
        else reject(new Error(answer.error));
      };
      const pending: PendingTask = { task, lostBy: 0, answered, reject };
      this.#waiting.push(pending);
      this.#dispatch();
    });
  }

  /** Ends the workers, whatever they are at. Tasks that are not done are rejected, each when nobody is at it any more. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const { reject } of [...this.#waiting.splice(0), ...this.#waitingHere.splice(0)]) {
      reject(closedError());
    }
    await Promise.all([...this.#threads].map((thread) => thread.stop()));
    await this.#workHere;
  }

  #dispatch(): void {
    while (this.#waiting.length > 0) {
      const thread = this.#chooseThread();
      if (thread === undefined) break;
      this.#give(this.#waiting.shift()!, thread);
    }
    if (this.#workHere !== undefined) return;
    const next = this.#waitingHere.shift() ?? (this.#threads.size === 0 ? this.#waiting.shift() : undefined);
    if (next !== undefined) this.#workHere = this.#do(next);
  }

  /** The least busy worker; a new one rather than a busy one. */
  #chooseThread(): CodecThread | undefined {
    let best: CodecThread | undefined;
    for (const thread of this.#threads) {
      if (thread.isUsable && (best === undefined || thread.load < best.load)) best = thread;
    }
    if (best?.load === 0) return best;
    const started = this.#threads.size < this.#maxThreads ? this.#startThread() : undefined;
    if (started !== undefined) return started;
    return best !== undefined && best.load < JOBS_PER_WORKER ? best : undefined;
  }

  /** Undefined if the host gives no thread now. */
  #startThread(): CodecThread | undefined {
    if (performance.now() < this.#startAgainAt) return undefined;
    let worker: Worker;
    try {
      worker = this.#startWorker();
    } catch {
      this.#startAgainAt = performance.now() + START_AGAIN_MS;
      return undefined;
    }
    const thread: CodecThread = new CodecThread(worker, {
      onAnswer: () => this.#dispatch(),
      onEnd: ({ undone, ran }) => {
        this.#threads.delete(thread);
        if (!ran) this.#startAgainAt = performance.now() + START_AGAIN_MS;
        this.#takeBack(undone);
      },
    });
    this.#threads.add(thread);
    return thread;
  }

  #give(pending: PendingTask, thread: CodecThread): void {
    try {
      thread.post(pending);
    } catch {
      // What cannot be posted to this worker cannot be to another.
      this.#waitingHere.push(pending);
    }
  }

  /** Tasks of a worker that is gone: they go before those that came later. */
  #takeBack(undone: readonly PendingTask[]): void {
    const again: PendingTask[] = [];
    for (const pending of undone) {
      const lost = { ...pending, lostBy: pending.lostBy + 1 };
      if (this.#closed) lost.reject(closedError());
      else if (lost.lostBy < MAX_LOST) again.push(lost);
      else this.#waitingHere.push(lost);
    }
    this.#waiting.unshift(...again);
    this.#dispatch();
  }

  /** On this thread, which has its turn between the pieces: signals are heard, and progress is shown. */
  async #do({ task, answered, reject }: PendingTask): Promise<void> {
    try {
      const lengths = await doCodecTask(task, async () => {
        await setImmediate();
        if (this.#closed) throw closedError();
      });
      answered({ id: 0, lengths });
    } catch (error) {
      reject(memoryError(error, task.operation));
    }
    this.#workHere = undefined;
    this.#dispatch();
  }
}

function closedError(): Qcow2Error<"closed"> {
  return new Qcow2Error("closed", "The codecs are closed", { name: "codecs" });
}
