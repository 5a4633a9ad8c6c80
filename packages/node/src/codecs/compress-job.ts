/** What the worker pool and its workers say to each other. */
import type { CompressionType } from "@qcow2/core";

export interface CompressJob {
  readonly id: number;
  readonly type: CompressionType;
  readonly level: number | undefined;
  /** Moved to the worker, not copied. */
  readonly input: ArrayBuffer;
  /** Bytes of `input` that count. */
  readonly length: number;
}

export type CompressAnswer =
  | { readonly id: number; readonly input: ArrayBuffer; readonly output: Uint8Array<ArrayBuffer> }
  | { readonly id: number; readonly input: ArrayBuffer; readonly error: string };
