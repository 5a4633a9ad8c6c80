import type { BytePrimitives } from "./byte-primitives.ts";

/** A part of a buffer: indices, half-open. */
export interface Run {
  readonly start: number;
  readonly end: number;
  /** True: has to be written. False: reads as zeroes, and is long enough to be worth a hole. */
  readonly isData: boolean;
}

export interface ZeroDetection {
  /** Zeroes shorter than this that follow data are written with it. Bytes, a positive multiple of 512. */
  readonly sparseBytes: number;
  /** What the target allocates at once, a power of two: less than that is never skipped. */
  readonly unitBytes: number;
  readonly isZero: BytePrimitives["isZero"];
}

/**
 * Divides `bytes`, which belong at guest `offset`, into runs to write and runs to skip. Boundaries lie on multiples
 * (counted on the disk, not in the buffer) of a unit and of the largest power of two within `sparseBytes`, so that a
 * hole never makes the target read, modify and write a block; a block is skipped only if all of it is zero.
 */
export function detectZeroes(bytes: Uint8Array, offset: number, detection: ZeroDetection): Run[] {
  const alignment = Math.max(detection.unitBytes, powerOfTwoWithin(detection.sparseBytes));
  const runs: Run[] = [];
  for (let start = 0; start < bytes.length; ) {
    const run = nextRun(bytes, offset, start, alignment, detection.isZero);
    appendRun(runs, run, detection.sparseBytes);
    start = run.end;
  }
  return runs;
}

/** The longest run from `start` whose aligned blocks are all data, or all zero. */
function nextRun(
  bytes: Uint8Array,
  offset: number,
  start: number,
  alignment: number,
  isZero: BytePrimitives["isZero"],
): Run {
  let end = blockEnd(start, offset, alignment, bytes.length);
  const isData = !isZero(bytes, start, end);
  while (end < bytes.length) {
    const next = blockEnd(end, offset, alignment, bytes.length);
    if (isZero(bytes, end, next) === isData) break;
    end = next;
  }
  return { start, end, isData };
}

function blockEnd(start: number, offset: number, alignment: number, length: number): number {
  return Math.min(length, start + alignment - ((offset + start) % alignment));
}

/** Joins a short run of zeroes between two runs of data to both; zeroes at either end of the buffer stay apart. */
function appendRun(runs: Run[], run: Run, sparseBytes: number): void {
  const zeroes = runs.at(-1);
  const data = runs.at(-2);
  const isShort = zeroes !== undefined && zeroes.end - zeroes.start < sparseBytes;
  if (run.isData && data !== undefined && isShort) {
    runs.splice(-2, 2, { start: data.start, end: run.end, isData: true });
  } else runs.push(run);
}

function powerOfTwoWithin(value: number): number {
  return 2 ** Math.floor(Math.log2(value));
}
