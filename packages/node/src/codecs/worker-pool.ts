import { Worker } from "node:worker_threads";
import { type CompressionType, Qcow2Error } from "@qcow2/core";
import type { CompressAnswer, CompressJob } from "./compress-job.ts";

/** Jobs given to one worker at a time: one to work on, and one so that it need not wait for the next. */
const JOBS_PER_WORKER = 2;
/** Input buffers kept for reuse, by worker. */
const SPARE_BUFFERS_PER_WORKER = JOBS_PER_WORKER;

interface Task {
  readonly type: CompressionType;
  readonly level: number | undefined;
  readonly input: ArrayBuffer;
  readonly length: number;
  readonly resolve: (output: Uint8Array) => void;
  readonly reject: (error: Error) => void;
}

interface Member {
  readonly worker: Worker;
  readonly running: Map<number, Task>;
}

/**
 * Compresses on worker threads. They are started when there is work for them, and keep the process alive only while
 * there is.
 */
export class WorkerPool {
  readonly #threads: number;
  readonly #startWorker: () => Worker;
  readonly #members = new Set<Member>();
  readonly #waiting: Task[] = [];
  readonly #spareInputs: ArrayBuffer[] = [];
  #nextId = 0;
  #closed = false;

  /** At most `threads` workers; `startWorker` makes one. */
  constructor(threads: number, startWorker: () => Worker = startCompressWorker) {
    this.#threads = threads;
    this.#startWorker = startWorker;
  }

  /**
   * Compresses a copy of `input`, which stays the caller's.
   * @throws Qcow2Error "closed"; Error if compressing fails, or the worker does
   */
  compress(type: CompressionType, input: Uint8Array, level: number | undefined): Promise<Uint8Array> {
    if (this.#closed) return Promise.reject(closedError());
    const buffer = this.#takeBuffer(input.length);
    new Uint8Array(buffer).set(input);
    return new Promise((resolve, reject) => {
      this.#waiting.push({ type, level, input: buffer, length: input.length, resolve, reject });
      this.#dispatch();
    });
  }

  /** Ends the workers. Jobs that are not done are rejected. */
  async close(): Promise<void> {
    this.#closed = true;
    this.#spareInputs.length = 0;
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
    const job: CompressJob = {
      id,
      type: task.type,
      level: task.level,
      input: task.input,
      length: task.length,
    };
    if (member.running.size === 0) member.worker.ref();
    member.running.set(id, task);
    member.worker.postMessage(job, [task.input]);
  }

  #addMember(): Member {
    const member: Member = { worker: this.#startWorker(), running: new Map() };
    this.#members.add(member);
    member.worker.unref();
    member.worker.on("message", (answer: CompressAnswer) => this.#finish(member, answer));
    member.worker.on("error", (error) => this.#fail(member, toError(error)));
    member.worker.on("exit", (code) => {
      this.#fail(member, new Error(`a compression worker ended unexpectedly with code ${code}`));
    });
    return member;
  }

  #finish(member: Member, answer: CompressAnswer): void {
    const task = member.running.get(answer.id);
    if (task === undefined) return;
    member.running.delete(answer.id);
    if (member.running.size === 0) member.worker.unref();
    this.#keepBuffer(answer.input);
    if ("output" in answer) task.resolve(answer.output);
    else task.reject(new Error(`compression failed: ${answer.error}`));
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

  #takeBuffer(length: number): ArrayBuffer {
    const index = this.#spareInputs.findIndex((buffer) => buffer.byteLength >= length);
    return index === -1 ? new ArrayBuffer(length) : this.#spareInputs.splice(index, 1)[0]!;
  }

  #keepBuffer(buffer: ArrayBuffer): void {
    if (!this.#closed && this.#spareInputs.length < this.#threads * SPARE_BUFFERS_PER_WORKER) {
      this.#spareInputs.push(buffer);
    }
  }
}

/**
 * A worker's garbage is one output buffer for each cluster, which V8 does not count as young: only a small young
 * generation is collected often enough to give those buffers back before they are tens of megabytes.
 */
const WORKER_YOUNG_GENERATION_MIB = 2;

function startCompressWorker(): Worker {
  const options = {
    // The process's own flags are not for the worker: some, such as --input-type, it refuses to start with.
    execArgv: [],
    resourceLimits: { maxYoungGenerationSizeMb: WORKER_YOUNG_GENERATION_MIB },
  };
  // Run from its sources, as its own tests do, this package still needs a worker in JavaScript: the built one.
  if (import.meta.url.endsWith(".ts")) {
    return new Worker(new URL("../../dist/codecs/compress-worker.js", import.meta.url), options);
  }
  return new Worker(new URL("./compress-worker.js", import.meta.url), options);
}

function closedError(): Qcow2Error<"closed"> {
  return new Qcow2Error("closed", "The codecs are closed", { name: "codecs" });
}

function toError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}
