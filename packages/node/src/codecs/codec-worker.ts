/** A worker thread of the pool: one cluster after the other, synchronously, which is the fastest way of node:zlib. */
import { parentPort } from "node:worker_threads";
import type { CodecAnswer, CodecJob } from "./codec-job.ts";
import { compressorFor } from "./compress-cluster.ts";
import { decompressInto } from "./decompress-cluster.ts";

parentPort?.on("message", (job: CodecJob) => {
  void answer(job).then((result) => parentPort?.postMessage(result));
});

async function answer(job: CodecJob): Promise<CodecAnswer> {
  try {
    return { id: job.id, lengths: await work(job) };
  } catch (error) {
    return { id: job.id, error: error instanceof Error ? error.message : String(error) };
  }
}

async function work({ operation, type, level, input, output, pieces }: CodecJob): Promise<number[]> {
  const lengths: number[] = [];
  const compress = operation === "compress" ? compressorFor(type, level) : undefined;
  for (const piece of pieces) {
    const from = new Uint8Array(input, piece.inputStart, piece.inputLength);
    const into = new Uint8Array(output, piece.outputStart, piece.outputLength);
    if (compress !== undefined) lengths.push(compress(from, into));
    else {
      const rest = decompressInto(type, from, into);
      if (rest !== undefined) await rest;
      lengths.push(into.length);
    }
  }
  return lengths;
}
