/** Reads many small tables in few requests: neighbours together, and the next ones while these are looked at. */
import { isQcow2Error, type Qcow2Error } from "../../errors.ts";
import { viewOf } from "../../format/uint64.ts";
import { readOrZeroes } from "../../storage/read-exactly.ts";
import type { Storage } from "../../storage/storage.ts";

/** The longest run, unless a single table is longer. */
const RUN_BYTES: number = 2 ** 20;
/** Reading this much that nobody asked for is cheaper than another request. */
const GAP_BYTES = 16384;
/** Requests under way at a time. */
const READS_AHEAD = 4;

/** Tables `first` .. `end` - 1, all within `view`; table i begins at offsetAt(i) - fileOffset. */
export interface TableRun {
  readonly first: number;
  readonly end: number;
  readonly fileOffset: number;
  readonly view: DataView;
  /** Set if the storage failed; then `view` holds nothing. */
  readonly failure: Qcow2Error<"io"> | undefined;
}

/**
 * Reads `count` tables of `tableBytes` each, in order. What lies beyond the end of the file reads as zeroes. A run's
 * view is valid until the next run is asked for.
 * @throws what the storage throws, apart from Qcow2Error "io", which is handed on with its run
 */
export async function* readTableRuns(options: {
  readonly storage: Storage;
  readonly count: number;
  readonly offsetAt: (index: number) => number;
  readonly tableBytes: number;
  readonly signal: AbortSignal | undefined;
}): AsyncGenerator<TableRun> {
  const pending: Promise<TableRun>[] = [];
  const buffers: Uint8Array[] = [];
  let next = 0;
  let turn = 0;
  const startRead = (): void => {
    const run = nextRun(options, next);
    next = run.end;
    const slot = turn++ % (READS_AHEAD + 1);
    let buffer = buffers[slot];
    if (buffer === undefined || buffer.length < run.length) {
      buffer = new Uint8Array(run.length);
      buffers[slot] = buffer;
    }
    const reading = readRun(options.storage, run, buffer.subarray(0, run.length));
    // A failure is met when its turn comes; until then nobody else listens.
    reading.catch(() => undefined);
    pending.push(reading);
  };
  try {
    while (next < options.count || pending.length > 0) {
      while (next < options.count && pending.length < READS_AHEAD) startRead();
      const run = await (pending.shift() as Promise<TableRun>);
      options.signal?.throwIfAborted();
      yield run;
    }
  } finally {
    // Whatever is under way ends before the caller goes on; its outcome no longer matters.
    await Promise.allSettled(pending);
  }
}

interface PlannedRun {
  readonly first: number;
  readonly end: number;
  readonly fileOffset: number;
  readonly length: number;
}

function nextRun(
  {
    count,
    offsetAt,
    tableBytes,
  }: { readonly count: number; readonly offsetAt: (index: number) => number; readonly tableBytes: number },
  first: number,
): PlannedRun {
  const fileOffset = offsetAt(first);
  let length = tableBytes;
  let end = first + 1;
  for (; end < count; end++) {
    const start = offsetAt(end) - fileOffset;
    if (start < 0 || start - length > GAP_BYTES || start + tableBytes > RUN_BYTES) break;
    length = Math.max(length, start + tableBytes);
  }
  return { first, end, fileOffset, length };
}

async function readRun(storage: Storage, run: PlannedRun, into: Uint8Array): Promise<TableRun> {
  const { first, end, fileOffset } = run;
  try {
    await readOrZeroes(storage, fileOffset, into);
    return { first, end, fileOffset, view: viewOf(into), failure: undefined };
  } catch (error) {
    if (isQcow2Error(error, "io")) return { first, end, fileOffset, view: viewOf(into), failure: error };
    throw error;
  }
}
