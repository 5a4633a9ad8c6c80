/** Running requests against a disk, and nothing else, between two looks at the clock. */
import type { WritableDisk } from "@qcow2/core";
import type { EngineCase } from "./engine-results.ts";

/** Runs the requests with `options.depth` of them under way; returns seconds. Nothing is flushed. */
export async function timeRequests(
  disk: WritableDisk,
  options: Pick<EngineCase, "request" | "depth">,
  offsets: readonly number[],
  data: Uint8Array,
): Promise<number> {
  let next = 0;
  const readOneByOne = async (): Promise<void> => {
    const into = new Uint8Array(data.length);
    while (next < offsets.length) await disk.read({ offset: offsets[next++] as number, into });
  };
  // All write the same bytes: which of them writes which request differs from run to run.
  const writeOneByOne = async (): Promise<void> => {
    while (next < offsets.length) await disk.write({ offset: offsets[next++] as number, from: data });
  };
  const work = options.request === "read" ? readOneByOne : writeOneByOne;
  const begin = process.hrtime.bigint();
  await Promise.all(Array.from({ length: options.depth }, work));
  return Number(process.hrtime.bigint() - begin) / 1e9;
}
