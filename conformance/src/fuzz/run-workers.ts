/** Runs cases in processes of their own, so that one that never ends, or takes all memory, is found like any other. */
import { type ChildProcess, fork } from "node:child_process";
import { join } from "node:path";
import { drawCase, type Figures } from "@qcow2/testing/fuzz";
import { REPOSITORY } from "../repository.ts";
import { drawOptions, type FromWorker, type ToWorker } from "./protocol.ts";
import type { SavedFind } from "./saved-finds.ts";

const WORKER = join(REPOSITORY, "conformance/dist/fuzz/worker.js");
/** Images that a process is given at a time. */
const BATCH = 64;
/** Milliseconds that one image may take on a machine that is busy with something else; making a find small takes longer. */
const HUNG_AFTER_MS = 120_000;
/** What a process may have on its heap, MiB: the images are small. */
const MOST_HEAP = 1024;

export interface FuzzRunOptions {
  readonly seed: number;
  /** Index of the first image. Default 0. */
  readonly from?: number | undefined;
  /** Images; or, without, as many as fit into the time. */
  readonly images?: number | undefined;
  /** Milliseconds since 1970 after which nothing more is begun. */
  readonly until?: number | undefined;
  readonly processes: number;
  /** QEMU judges one image in so many; 0 for none. */
  readonly qemu: number;
  /** Make finds small. Default true. */
  readonly minimises?: boolean | undefined;
  /** Told after each batch how many images were done by then. */
  readonly onProgress?: ((done: number) => void) | undefined;
  readonly onFind: (
    find: SavedFind,
    options: { readonly isNew: boolean; readonly signature: string },
  ) => void;
}

/** @returns the figures of all processes together */
export async function runWorkers(options: FuzzRunOptions): Promise<Figures> {
  const run = new FuzzRun(options);
  await Promise.all(Array.from({ length: options.processes }, () => run.process()));
  return run.figures;
}

class FuzzRun {
  readonly figures: Figures = new Map();
  readonly #options: FuzzRunOptions;
  readonly #signatures = new Set<string>();
  #next: number;
  #done = 0;

  constructor(options: FuzzRunOptions) {
    this.#options = options;
    this.#next = options.from ?? 0;
  }

  /** One process after the other, each for as long as it lives. */
  async process(): Promise<void> {
    for (let batch = this.#take(); batch !== undefined; ) {
      const rest = await this.#runProcess(batch);
      batch = rest ?? this.#take();
    }
  }

  #take(): Batch | undefined {
    const { from = 0, images, until } = this.#options;
    if (until !== undefined && Date.now() >= until) return undefined;
    const count = Math.min(BATCH, images === undefined ? BATCH : from + images - this.#next);
    if (count <= 0) return undefined;
    const batch = { from: this.#next, count };
    this.#next += count;
    return batch;
  }

  /** @returns what is left of a batch whose process had to be ended */
  async #runProcess(first: Batch): Promise<Batch | undefined> {
    const worker = fork(WORKER, [], { execArgv: [`--max-old-space-size=${MOST_HEAP}`] });
    try {
      for (let batch: Batch | undefined = first; batch !== undefined; batch = this.#take()) {
        const stopped = await this.#runBatch(worker, batch);
        if (stopped === undefined) continue;
        const { index, why } = stopped;
        this.#found(why, {
          oracle: "bounded-work",
          operation: "unknown",
          error: `bounded-work: ${why}`,
          seed: this.#options.seed,
          index,
          drawn: drawCase(index, drawOptions(this.#options.seed, this.#options.qemu)),
        });
        const done = index + 1 - batch.from;
        return { from: index + 1, count: batch.count - done };
      }
      send(worker, { kind: "end" });
      return undefined;
    } finally {
      worker.kill("SIGKILL");
    }
  }

  #runBatch(
    worker: ChildProcess,
    { from, count }: Batch,
  ): Promise<{ readonly index: number; readonly why: string } | undefined> {
    return new Promise((resolve) => {
      let index = from;
      let timer: NodeJS.Timeout | undefined;
      const settle = (stopped: { readonly index: number; readonly why: string } | undefined): void => {
        clearTimeout(timer);
        worker.off("message", onMessage);
        worker.off("exit", onExit);
        resolve(stopped);
      };
      const watch = (): void => {
        clearTimeout(timer);
        timer = setTimeout(() => settle({ index, why: "the process hangs" }), HUNG_AFTER_MS);
      };
      const onExit = (code: number | null, signal: string | null): void =>
        settle({ index, why: `the process ended with ${signal ?? code}` });
      const onMessage = (message: FromWorker): void => {
        watch();
        if (message.kind === "began") index = message.index;
        else if (message.kind === "find") this.#found(message.signature, message.find);
        else {
          for (const [name, times] of message.figures)
            this.figures.set(name, (this.figures.get(name) ?? 0) + times);
          this.#done += count;
          this.#options.onProgress?.(this.#done);
          settle(undefined);
        }
      };
      worker.on("message", onMessage);
      worker.on("exit", onExit);
      watch();
      const { seed, qemu, minimises = true } = this.#options;
      send(worker, { kind: "batch", seed, from, count, qemu, minimises });
    });
  }

  #found(signature: string, find: SavedFind): void {
    const isNew = !this.#signatures.has(signature);
    this.#signatures.add(signature);
    this.#options.onFind(find, { isNew, signature });
  }
}

interface Batch {
  readonly from: number;
  readonly count: number;
}

function send(worker: ChildProcess, message: ToWorker): void {
  worker.send(message);
}
