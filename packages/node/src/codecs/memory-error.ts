import { isQcow2Error, Qcow2Error } from "@qcow2/core";
import { isOutOfMemory } from "./out-of-memory.ts";

type Operation = "compress" | "decompress";

/** What a failed allocation becomes: Qcow2Error "out-of-memory". Every other error is returned as it is. */
export function memoryError(error: unknown, operation: Operation): unknown {
  if (isQcow2Error(error) || !isOutOfMemory(error)) return error;
  const message = `Could not ${operation}: Cannot allocate memory`;
  return new Qcow2Error("out-of-memory", message, { operation }, { cause: error });
}

/** Calls `work`, whose failed allocations, thrown or rejected with, become Qcow2Error "out-of-memory". */
export function namingMemory<Result>(
  operation: Operation,
  work: () => Result | Promise<Result>,
): Result | Promise<Result> {
  const rename = (error: unknown): never => {
    throw memoryError(error, operation);
  };
  try {
    const result = work();
    return result instanceof Promise ? result.catch(rename) : result;
  } catch (error) {
    return rename(error);
  }
}
