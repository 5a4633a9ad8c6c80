/** Workers that fail, each in its own way, for the pool's tests. */
import { Worker } from "node:worker_threads";
import type { CodecTask } from "../src/codecs/codec-job.ts";

const DO_TASK: string = new URL("../dist/codecs/do-codec-task.js", import.meta.url).href;

/**
 * How a worker fails at a job: code that has `job`, `port`, `post`, `answer` (does
 * the job right) and `fill` (leaves wrong bytes wherever the job has room).
 */
export const FAILURES: Readonly<Record<string, string>> = {
  "ends in the middle": "fill(); process.exit(3);",
  "ends with 0": "fill(); process.exit(0);",
  "ends with 0, having nothing more to do": "fill(); port.close();",
  "throws in the middle": "fill(); throw new Error('out of order');",
  "throws later": "fill(); setTimeout(() => { throw new Error('out of order'); }); fill();",
  "throws what cannot be sent": "fill(); throw () => {};",
  rejects: "fill(); void Promise.reject(new Error('out of order'));",
  "runs out of memory": "fill(); const all = []; for (;;) all.push(new Array(1000).fill({}));",
  "says nonsense": "fill(); post('nonsense');",
  "says nothing": "fill(); post(undefined);",
  "names another job": "fill(); post({ id: 777, lengths: [1] });",
  "answers with fewer pieces": "fill(); post({ id: job.id, lengths: [] });",
  "answers with more than there is room for": "fill(); post({ id: job.id, lengths: [2 ** 31] });",
  "answers with no number": "fill(); post({ id: job.id, lengths: [NaN] });",
  "cannot send its answer": "fill(); post({ id: job.id, lengths: [1], no: () => {} });",
  "answers, and ends": "void answer().then(() => process.exit(1));",
  "answers twice": "void answer().then(() => answer());",
};

/** Runs `onJob` for each job. */
export function workerThat(onJob: string): Worker {
  const code = `
    const { parentPort: port } = require("node:worker_threads");
    const post = (message) => port.postMessage(message);
    port.on("message", (job) => {
      const fill = () => {
        for (const { outputStart, outputLength } of job.pieces) {
          new Uint8Array(job.output, outputStart, outputLength).fill(0xbb);
        }
      };
      const answer = async () => {
        const { doCodecTask } = await import(${JSON.stringify(DO_TASK)});
        post({ id: job.id, lengths: await doCodecTask(job) });
      };
      ${onJob}
    });`;
  // Small, so that running out of it takes no time.
  const resourceLimits = { maxOldGenerationSizeMb: 16, maxYoungGenerationSizeMb: 2 };
  return new Worker(code, { eval: true, execArgv: [], resourceLimits });
}

export function goodWorker(): Worker {
  return workerThat("void answer();");
}

/** What starting a thread throws where the host has none. */
export function noThread(): never {
  throw Object.assign(new Error("EAGAIN"), { code: "ERR_WORKER_INIT_FAILED" });
}

/** As where its event loop cannot be set up: it exists, and fails before it runs anything. */
export function workerThatFailsToStart(): Worker {
  return new Worker("throw new Error('Worker initialization failure: EMFILE')", { eval: true });
}

/** Compresses `length` bytes of `fill`. */
export function compressTask(length: number, fill = 0): CodecTask {
  const input = new SharedArrayBuffer(length);
  new Uint8Array(input).fill(fill);
  const room = 2 * length + 1000;
  return {
    operation: "compress",
    type: "zlib",
    level: undefined,
    input,
    output: new SharedArrayBuffer(room),
    pieces: [{ inputStart: 0, inputLength: length, outputStart: 0, outputLength: room }],
  };
}
