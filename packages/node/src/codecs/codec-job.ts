/** What the worker pool and its workers say to each other. Buffers are shared: nothing is copied, nothing moved. */
import type { CompressionType } from "@qcow2/core";

export interface CodecTask {
  readonly operation: "compress" | "decompress";
  readonly type: CompressionType;
  /** Only to compress; undefined for the library's own. */
  readonly level: number | undefined;
  readonly input: SharedArrayBuffer;
  readonly output: SharedArrayBuffer;
  readonly pieces: readonly CodecPiece[];
}

/** One cluster: bytes `inputStart`, `inputLength` of the input, and the room for it in the output. */
export interface CodecPiece {
  readonly inputStart: number;
  readonly inputLength: number;
  readonly outputStart: number;
  readonly outputLength: number;
}

export interface CodecJob extends CodecTask {
  readonly id: number;
}

/**
 * `lengths`: the bytes that each piece has in the output, in their order. `outOfMemory`: it failed for want of memory,
 * which says nothing about the data.
 */
export type CodecAnswer =
  | { readonly id: number; readonly lengths: readonly number[] }
  | { readonly id: number; readonly error: string; readonly outOfMemory: boolean };

/** True if a worker that had `job` may answer so. */
export function isAnswerTo(job: CodecJob, answer: CodecAnswer): boolean {
  if ("error" in answer) return typeof answer.error === "string";
  if (!Array.isArray(answer.lengths) || answer.lengths.length !== job.pieces.length) return false;
  return job.pieces.every(({ outputLength }, index) => {
    const length: unknown = answer.lengths[index];
    return Number.isInteger(length) && (length as number) >= 0 && (length as number) <= outputLength;
  });
}
