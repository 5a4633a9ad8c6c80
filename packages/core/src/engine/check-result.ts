/** What `Qcow2Image.check()` answers. */
import type { Qcow2Error } from "../errors.ts";

/** One finding, in the order in which it was met. */
export interface CheckFinding {
  /** A corruption can lose data; a leak only wastes space; an error kept the check from looking. */
  readonly severity: "corruption" | "leak" | "error";
  /** What kind of finding, stable for programs. */
  readonly code:
    | "leaked-cluster"
    | "refcount-too-low"
    | "refcount-overflow"
    | "copied-flag"
    | "reserved-bits"
    | "unaligned"
    | "beyond-end"
    | "overlap"
    | "invalid-entry"
    | "refcount-block"
    | "snapshot-table"
    | "bitmap"
    | "read-error";
  /** A line for people: what `qemu-img check` prints for it, where it has words for it. */
  readonly message: string;
  /** Host byte offset of what is wrong, where there is one. */
  readonly hostOffset?: number;
  /** Guest byte offset that it concerns, where there is one. */
  readonly guestOffset?: number;
  /** The refcount block that is damaged or not alone in its cluster: its index in the refcount table. */
  readonly refcountBlock?: number;
  /** True if metadata lies there, and something else refers to the same cluster. */
  readonly overlaps?: boolean;
  /** Why the storage could not be read, if that is what kept the check from looking. */
  readonly cause?: Qcow2Error<"io">;
}

export interface CheckResult {
  readonly corruptions: number;
  readonly leaks: number;
  /** Errors that kept the check from looking at something. */
  readonly checkErrors: number;
  /** Guest clusters of the disk. */
  readonly totalClusters: number;
  readonly allocatedClusters: number;
  readonly fragmentedClusters: number;
  readonly compressedClusters: number;
  /** End of the last host cluster in use, bytes. */
  readonly imageEndOffset: number;
}

export interface CheckOptions {
  readonly signal?: AbortSignal | undefined;
  /** Called for each finding as it is met; findings are not collected, so that memory stays bounded. */
  readonly onFinding?: ((finding: CheckFinding) => void) | undefined;
  /** Called now and then with the part that is done, 0..1. */
  readonly onProgress?: ((fraction: number) => void) | undefined;
  /** Bytes of memory for reference counts; larger images take several passes. Default 64 MiB. */
  readonly memoryBytes?: number | undefined;
}
