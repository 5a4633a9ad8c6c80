/** Which parts of a chunk can be copied from where they lie. */
import type { Disk, StoredBytes } from "@qcow2/core";

/** A part of a chunk: what can be copied as it lies, or what has to be read. */
export interface Piece {
  /** First guest byte. */
  readonly offset: number;
  /** Bytes; never 0. */
  readonly length: number;
  /** Undefined: to be read. */
  readonly stored: StoredBytes | undefined;
}

interface Range {
  readonly offset: number;
  readonly length: number;
  readonly signal?: AbortSignal | undefined;
}

/** The whole of `chunk` in pieces, in order. Stored ones begin and end at multiples of `unitBytes` on the disk. */
export async function storedPieces(source: Disk, chunk: Range, unitBytes: number): Promise<Piece[]> {
  const pieces: Piece[] = [];
  let done = chunk.offset;
  const readUntil = (offset: number): void => {
    if (offset > done) pieces.push({ offset: done, length: offset - done, stored: undefined });
  };
  for (const run of await storedRuns(source, chunk)) {
    const start = Math.ceil(run.guestOffset / unitBytes) * unitBytes;
    const end = Math.floor((run.guestOffset + run.stored.length) / unitBytes) * unitBytes;
    if (start >= end) continue;
    readUntil(start);
    const length = end - start;
    const stored = { ...run.stored, offset: run.stored.offset + (start - run.guestOffset), length };
    pieces.push({ offset: start, length, stored });
    done = end;
  }
  readUntil(chunk.offset + chunk.length);
  return pieces;
}

interface StoredRun {
  readonly guestOffset: number;
  readonly stored: StoredBytes;
}

/** What lies in one piece in one storage; a cluster of the target may hold several of the source. */
async function storedRuns(source: Disk, chunk: Range): Promise<StoredRun[]> {
  const runs: StoredRun[] = [];
  for await (const extent of source.map(chunk)) {
    const stored = source.storedAt?.(extent);
    if (stored === undefined) continue;
    const last = runs.at(-1);
    const continues =
      last !== undefined &&
      last.guestOffset + last.stored.length === extent.offset &&
      last.stored.storage === stored.storage &&
      last.stored.offset + last.stored.length === stored.offset;
    if (!continues) runs.push({ guestOffset: extent.offset, stored });
    else {
      const length = last.stored.length + stored.length;
      runs[runs.length - 1] = { ...last, stored: { ...last.stored, length } };
    }
  }
  return runs;
}
