/** A worker thread of the pool: compresses one cluster after the other, synchronously, which is zlib's fastest way. */
import { parentPort } from "node:worker_threads";
import { compressCluster } from "./compress-cluster.ts";
import type { CompressAnswer, CompressJob } from "./compress-job.ts";

parentPort?.on("message", (job: CompressJob) => {
  const answer = run(job);
  const moved = "output" in answer ? [answer.input, answer.output.buffer] : [answer.input];
  parentPort?.postMessage(answer, moved);
});

function run(job: CompressJob): CompressAnswer {
  const { id, input } = job;
  try {
    const compressed = compressCluster(job.type, new Uint8Array(input, 0, job.length), job.level);
    // A copy of its own: the original may lie in a buffer that Node.js shares out, which must not be moved.
    return { id, input, output: new Uint8Array(compressed) };
  } catch (error) {
    return { id, input, error: error instanceof Error ? error.message : String(error) };
  }
}
