/** A worker thread of the pool. */
import { parentPort } from "node:worker_threads";
import type { CodecAnswer, CodecJob } from "./codec-job.ts";
import { doCodecTask } from "./do-codec-task.ts";
import { isOutOfMemory } from "./out-of-memory.ts";

parentPort?.on("message", (job: CodecJob) => {
  void answer(job).then((result) => parentPort?.postMessage(result));
});
// A job that did not arrive would never be answered; those of a worker that ends are done by another.
parentPort?.on("messageerror", () => process.exit(1));

async function answer(job: CodecJob): Promise<CodecAnswer> {
  try {
    return { id: job.id, lengths: await doCodecTask(job) };
  } catch (error) {
    return {
      id: job.id,
      error: error instanceof Error ? error.message : String(error),
      outOfMemory: isOutOfMemory(error),
    };
  }
}
