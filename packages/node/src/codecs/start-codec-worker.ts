import { Worker } from "node:worker_threads";
import { addressSpaceLeft } from "../native/address-space.ts";

/** What a worker keeps is in shared memory; its own heap only has to hold its code. */
const WORKER_YOUNG_GENERATION_MIB = 2;
/**
 * Address space that a worker may take: V8 sets half a GiB aside for code alone, the C library some for its own memory
 * (measured: 600 to 865 MiB with Node.js 20 to 24). Where V8 cannot have it, it ends the whole process.
 */
const WORKER_ADDRESS_SPACE = 1.25 * 2 ** 30;

/** Workers that were started and have not taken their address space yet, or not all of it. */
let starting = 0;

/** @throws Error if the host gives no thread, or has not the address space that a worker takes */
export function startCodecWorker(): Worker {
  if (addressSpaceLeft() < (starting + 1) * WORKER_ADDRESS_SPACE) {
    throw new Error("too little address space for a worker thread");
  }
  const worker = new Worker(workerFile(), {
    // The process's own flags are not for the worker: some, such as --input-type, it refuses to start with.
    execArgv: [],
    // It writes nothing; and one that could not start would keep its hold on the process's own streams.
    stdout: true,
    stderr: true,
    resourceLimits: { maxYoungGenerationSizeMb: WORKER_YOUNG_GENERATION_MIB },
  });
  starting++;
  let isStarting = true;
  const started = (): void => {
    if (isStarting) starting--;
    isStarting = false;
  };
  worker.once("online", started).once("exit", started);
  return worker;
}

function workerFile(): URL {
  // Run from its sources, as its own tests do, this package still needs a worker in JavaScript: the built one.
  if (import.meta.url.endsWith(".ts")) return new URL("../../dist/codecs/codec-worker.js", import.meta.url);
  return new URL("./codec-worker.js", import.meta.url);
}
