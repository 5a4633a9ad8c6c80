/** The work of a task: the same on a worker thread and on the calling one. */
import type { CodecTask } from "./codec-job.ts";
import { compressorFor } from "./compress-cluster.ts";
import { decompressInto } from "./decompress-cluster.ts";

/**
 * One piece after the other, each synchronously, which is the fastest way of node:zlib. `pause` is awaited before each
 * piece; if it throws, the rest is left undone. Nothing writes to the output once the promise has settled.
 * @returns the bytes that each piece has in the output, in their order
 * @throws what the codec throws for a piece that is damaged or that it cannot compress
 */
export async function doCodecTask(
  { operation, type, level, input, output, pieces }: CodecTask,
  pause?: () => Promise<void>,
): Promise<readonly number[]> {
  const lengths: number[] = [];
  for (const piece of pieces) {
    if (pause !== undefined) await pause();
    const from = new Uint8Array(input, piece.inputStart, piece.inputLength);
    const into = new Uint8Array(output, piece.outputStart, piece.outputLength);
    if (operation === "compress") lengths.push(compressorFor(type, level)(from, into));
    else {
      const rest = decompressInto(type, from, into);
      if (rest !== undefined) await rest;
      lengths.push(into.length);
    }
  }
  return lengths;
}
