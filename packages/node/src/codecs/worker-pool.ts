import { Worker } from "node:worker_threads";
import { Qcow2Error } from "@qcow2/core";
import type { CodecAnswer, CodecJob, CodecTask } from "./codec-job.ts";

/** Jobs given to one worker at a time: one to work on, and one so that it need not wait for the next. */
const JOBS_PER_WORKER = 2;

interface Task {
  readonly task: CodecTask;
  readonly resolve: (lengths: readonly number[]) => void;
  readonly reject: (error: Error) => void;
}

interface Member {
  readonly worker: Worker;
  readonly running: Map<number, Task>;
}

/**
 * Compresses and decompresses on worker threads. They are started when there is work for them, and keep the process
 * alive only while there is.
 */
export class WorkerPool {
  readonly #threads: number;
  readonly #startWorker: () => Worker;
  readonly #members = new Set<Member>();
  readonly #waiting: Task[] = [];
  #nextId = 0;
  #closed = false;

  /** At most `threads` workers; `startWorker` makes one. */
  constructor(threads: number, startWorker: () => Worker = startCodecWorker) {
    this.#threads = threads;
    this.#startWorker = startWorker;
  }

  /** True once the pool was closed: every task is refused then. */
  get closed(): boolean {
    return this.#closed;
  }

  /**
   * Does a task. Its buffers belong to the workers until the promise settles; if it rejects because the pool was
   * closed, longer.
   * @returns the bytes that each piece has in the output
   * @throws Qcow2Error "closed"; Error if a piece cannot be compressed or is damaged, or if the worker fails
   */
  run(task: CodecTask): Promise<readonly number[]> {
    if (this.#closed) return Promise.reject(closedError());
    return new Promise((resolve, reject) => {
      this.#waiting.push({ task, resolve, reject });
      this.#dispatch();
    });
  }

  /** Ends the workers. Jobs that are not done are rejected. */
  async close(): Promise<void> {
    this.#closed = true;
    for (const task of this.#waiting.splice(0)) task.reject(closedError());
    const members = [...this.#members];
    for (const member of members) this.#discard(member, closedError());
    await Promise.all(members.map(({ worker }) => worker.terminate()));
  }

  #dispatch(): void {
    while (this.#waiting.length > 0) {
      const member = this.#chooseMember();
      if (member === undefined) return;
      this.#start(member, this.#waiting.shift()!);
    }
  }

  /** The least busy worker; a new one rather than a busy one. */
  #chooseMember(): Member | undefined {
    let best: Member | undefined;
    for (const member of this.#members) {
      if (best === undefined || member.running.size < best.running.size) best = member;
    }
    if (best?.running.size === 0) return best;
    if (this.#members.size < this.#threads) return this.#addMember();
    return best !== undefined && best.running.size < JOBS_PER_WORKER ? best : undefined;
  }

  #start(member: Member, task: Task): void {
    const id = this.#nextId++;
    const job: CodecJob = { id, ...task.task };
    if (member.running.size === 0) member.worker.ref();
    member.running.set(id, task);
    member.worker.postMessage(job);
  }

  #addMember(): Member {
    const member: Member = { worker: this.#startWorker(), running: new Map() };
    this.#members.add(member);
    member.worker.unref();
    member.worker.on("message", (answer: CodecAnswer) => this.#finish(member, answer));
    member.worker.on("error", (error) => this.#fail(member, toError(error)));
    member.worker.on("exit", (code) => {
      this.#fail(member, new Error(`a codec worker ended unexpectedly with code ${code}`));
    });
    return member;
  }

  #finish(member: Member, answer: CodecAnswer): void {
    const task = member.running.get(answer.id);
    if (task === undefined) return;
    member.running.delete(answer.id);
    if (member.running.size === 0) member.worker.unref();
    if ("lengths" in answer) task.resolve(answer.lengths);
    else task.reject(new Error(answer.error));
    this.#dispatch();
  }

  /** A worker that broke takes the jobs it had with it; those that wait go to a new one. */
  #fail(member: Member, error: Error): void {
    if (!this.#members.has(member)) return;
    this.#discard(member, error);
    this.#dispatch();
  }

  #discard(member: Member, error: Error): void {
    this.#members.delete(member);
    for (const task of member.running.values()) task.reject(error);
    member.running.clear();
    member.worker.unref();
  }
}

/** What a worker keeps is in shared memory; its own heap only has to hold its code. */
const WORKER_YOUNG_GENERATION_MIB = 2;

function startCodecWorker(): Worker {
  const options = {
    // The process's own flags are not for the worker: some, such as --input-type, it refuses to start with.
    execArgv: [],
    resourceLimits: { maxYoungGenerationSizeMb: WORKER_YOUNG_GENERATION_MIB },
  };
  // Run from its sources, as its own tests do, this package still needs a worker in JavaScript: the built one.
  if (import.meta.url.endsWith(".ts")) {
    return new Worker(new URL("../../dist/codecs/codec-worker.js", import.meta.url), options);
  }
  return new Worker(new URL("./codec-worker.js", import.meta.url), options);
}

function closedError(): Qcow2Error<"closed"> {
  return new Qcow2Error("closed", "The codecs are closed", { name: "codecs" });
}

function toError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}
