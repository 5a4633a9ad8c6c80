/** What the commands of this workspace share in reading their arguments. */
import { parseBytes } from "./report/units.ts";

/** @throws RangeError for what is no whole number from `smallest` */
export function parseCount(name: string, text: string, smallest: number): number {
  const count = /^\d+$/.test(text) ? Number(text) : Number.NaN;
  if (!(count >= smallest && count < 2 ** 32)) {
    throw new RangeError(`--${name} '${text}' is no number from ${smallest}`);
  }
  return count;
}

/** Bytes: "512M". @throws RangeError for what is no size, or no multiple of 1 MiB */
export function parseSize(name: string, text: string): number {
  const bytes = parseBytes(text);
  if (bytes % 2 ** 20 !== 0) throw new RangeError(`--${name} must be a multiple of 1M`);
  return bytes;
}

/** An error of parseArgs, whose message is for the user. */
export function isUsageError(error: unknown): error is Error {
  return error instanceof Error && "code" in error && String(error.code).startsWith("ERR_PARSE_ARGS");
}
