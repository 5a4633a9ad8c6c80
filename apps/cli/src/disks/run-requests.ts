/** Many equal requests to a disk, a number of them at a time. */
import type { WritableDisk } from "@qcow2/core";

export interface Requests {
  /** How many. */
  readonly count: number;
  /** How many at the same time. */
  readonly depth: number;
  /** Bytes of each. */
  readonly length: number;
  /** Where the first begins, and how much further each of the others does; behind the disk's end they begin again. */
  readonly offset: number;
  readonly step: number;
  /** The byte to write; undefined to read. */
  readonly pattern: number | undefined;
  /** Requests after which to flush; 0 for never. */
  readonly flushInterval: number;
  /** Flush after each request, and count it as part of it: it is durable when it ends. */
  readonly flushesEach: boolean;
  /** Wait for what is under way before a flush. */
  readonly drain: boolean;
  readonly signal: AbortSignal;
}

/** Resolves when all requests have ended, with the first error if one failed. */
export async function runRequests(disk: WritableDisk, requests: Requests): Promise<void> {
  const { count, depth, length, offset, step, pattern, flushInterval, flushesEach, drain, signal } = requests;
  const underWay = new Set<Promise<void>>();
  const free: Uint8Array[] = [];
  const data = pattern === undefined ? undefined : new Uint8Array(length).fill(pattern);
  let failure: { readonly error: unknown } | undefined;
  const start = (work: Promise<void>): void => {
    const ended: Promise<void> = work
      .catch((error: unknown) => {
        failure ??= { error };
      })
      .finally(() => underWay.delete(ended));
    underWay.add(ended);
  };
  const request = async (at: number): Promise<void> => {
    if (data !== undefined) {
      await disk.write({ offset: at, from: data });
      if (flushesEach) await disk.flush();
      return;
    }
    const into = free.pop() ?? new Uint8Array(length);
    await disk.read({ offset: at, into });
    free.push(into);
  };
  let at = offset;
  for (let index = 0; index < count && failure === undefined; index++) {
    signal.throwIfAborted();
    if (underWay.size >= depth) await Promise.race(underWay);
    start(request(at));
    at += step;
    if (at >= disk.size && disk.size > 0) at %= disk.size;
    if (flushInterval === 0 || (index + 1) % flushInterval !== 0) continue;
    if (drain) await Promise.all(underWay);
    start(disk.flush());
    if (drain) await Promise.all(underWay);
  }
  await Promise.all(underWay);
  if (failure !== undefined) throw failure.error;
}
