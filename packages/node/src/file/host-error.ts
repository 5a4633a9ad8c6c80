/** Failures of the host, as the one error class of this library. */
import { getSystemErrorMap, getSystemErrorName } from "node:util";
import { isQcow2Error, Qcow2Error } from "@qcow2/core";

/** Where libuv's own sentence would mislead: its words for EISDIR speak of "an operation on a directory". */
const CLEARER_REASONS: Readonly<Record<string, string>> = {
  EISDIR: "Is a directory",
  EIO: "Input/output error",
};

export interface HostOperation {
  /** What was tried, as it reads in "Could not ... 'name'": "open", "read from". */
  readonly operation: string;
  /** The file, as the user called it. */
  readonly name: string;
  readonly offset?: number;
}

/**
 * What a failed system call becomes: {@link Qcow2Error} "io" with the host's errno. Errors that are ours already, and
 * mistakes of the caller (`RangeError`, `TypeError`), are returned as they are.
 */
export function hostError(error: unknown, context: HostOperation): unknown {
  const errno = errnoOf(error);
  if (isQcow2Error(error) || errno === undefined) return error;
  return ioError(errno, context, error);
}

/** A {@link Qcow2Error} "io" for `errno`, the host's name for the reason: "ENOSPC". */
export function ioError(errno: string, context: HostOperation, cause?: unknown): Qcow2Error<"io"> {
  const where = context.offset === undefined ? "" : ` at offset ${context.offset}`;
  const { operation, name } = context;
  return new Qcow2Error(
    "io",
    `Could not ${operation} '${name}'${where}: ${reasonFor(errno)}`,
    { ...context, errno },
    cause === undefined ? undefined : { cause },
  );
}

/** The name of a positive errno as C returns it: 28 is "ENOSPC" on Linux. */
export function errnoName(errno: number): string {
  return getSystemErrorName(-errno);
}

/** The `code` of a Node.js system error ("ENOENT"); undefined for everything else. */
export function errnoOf(error: unknown): string | undefined {
  if (!(error instanceof Error) || !("code" in error) || !("syscall" in error)) return undefined;
  return typeof error.code === "string" ? error.code : undefined;
}

function reasonFor(errno: string): string {
  const clearer = CLEARER_REASONS[errno];
  if (clearer !== undefined) return clearer;
  for (const [name, message] of getSystemErrorMap().values()) {
    if (name === errno) return message.charAt(0).toUpperCase() + message.slice(1);
  }
  return errno;
}
