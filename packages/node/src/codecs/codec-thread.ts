import type { Worker } from "node:worker_threads";
import { type CodecAnswer, type CodecJob, type CodecTask, isAnswerTo } from "./codec-job.ts";

/** A task on its way through the pool. */
export interface PendingTask {
  readonly task: CodecTask;
  /** Workers that ended while they had it. */
  readonly lostBy: number;
  /** Its one answer: the worker does not touch its buffers any more. */
  readonly answered: (answer: CodecAnswer) => void;
  readonly reject: (error: unknown) => void;
}

export interface CodecThreadEvents {
  /** A task was answered, and there is room for another. */
  onAnswer(): void;
  /**
   * The worker has ended: none of its code runs any more. `undone` are the tasks that it never answered, in their
   * order; `ran` is false if it never came to work, so that the next one will hardly do better.
   */
  onEnd(end: { readonly undone: readonly PendingTask[]; readonly ran: boolean }): void;
}

/**
 * One worker of the pool and what it has to do. However it fails, what it had comes back only when its thread is gone:
 * an error is reported while the worker may still write into the buffers of its tasks.
 */
export class CodecThread {
  readonly #worker: Worker;
  readonly #events: CodecThreadEvents;
  readonly #jobs = new Map<number, { readonly job: CodecJob; readonly pending: PendingTask }>();
  readonly #ended: Promise<void>;
  #nextId = 0;
  #ran = false;
  #isUsable = true;

  constructor(worker: Worker, events: CodecThreadEvents) {
    this.#worker = worker;
    this.#events = events;
    worker.unref();
    worker.on("message", (answer: unknown) => this.#onMessage(answer));
    worker.on("messageerror", () => this.#giveUp());
    worker.on("error", () => this.#giveUp());
    this.#ended = new Promise((resolve) => {
      worker.on("exit", () => {
        resolve();
        this.#onExit();
      });
    });
  }

  /** False once it is to end: it gets no more tasks. */
  get isUsable(): boolean {
    return this.#isUsable;
  }

  /** Tasks that it has not answered. */
  get load(): number {
    return this.#jobs.size;
  }

  /** @throws what posting throws; the worker then knows nothing of the task */
  post(pending: PendingTask): void {
    const job: CodecJob = { id: this.#nextId++, ...pending.task };
    this.#worker.postMessage(job);
    if (this.#jobs.size === 0) this.#worker.ref();
    this.#jobs.set(job.id, { job, pending });
  }

  /** Has the worker end, whatever it does; resolves when it has, after `onEnd`. */
  async stop(): Promise<void> {
    this.#giveUp();
    await this.#ended;
  }

  #onMessage(answer: unknown): void {
    if (!this.#isUsable) return;
    const known = isAnswer(answer) ? this.#jobs.get(answer.id) : undefined;
    if (known === undefined) {
      // Its ids are all ours: it says something twice, or nonsense, and is not to be believed any more.
      this.#giveUp();
      return;
    }
    const given = answer as CodecAnswer;
    if (!isAnswerTo(known.job, given)) {
      this.#giveUp();
      return;
    }
    this.#ran = true;
    this.#jobs.delete(given.id);
    if (this.#jobs.size === 0) this.#worker.unref();
    known.pending.answered(given);
    this.#events.onAnswer();
  }

  #giveUp(): void {
    if (!this.#isUsable) return;
    this.#isUsable = false;
    // It refs the worker, too: the process lives until it has ended.
    void this.#worker.terminate();
  }

  #onExit(): void {
    this.#isUsable = false;
    const undone = [...this.#jobs.values()].map(({ pending }) => pending);
    this.#jobs.clear();
    this.#events.onEnd({ undone, ran: this.#ran });
  }
}

function isAnswer(message: unknown): message is { readonly id: number } {
  return typeof message === "object" && message !== null && "id" in message && typeof message.id === "number";
}
