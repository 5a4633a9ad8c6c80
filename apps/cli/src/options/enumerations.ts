/** Options with few allowed values, shared by several commands. */
import { CommandError, UsageError } from "../errors/command-errors.ts";

export type OutputFormat = "human" | "json";

/** --output */
export function parseOutputFormat(value: string | undefined): OutputFormat {
  if (value === undefined || value === "human") return "human";
  if (value === "json") return "json";
  throw new UsageError(`--output expects 'human' or 'json', not '${value}'`);
}

export const CACHE_MODES: readonly string[] = [
  "none",
  "off",
  "directsync",
  "writeback",
  "unsafe",
  "writethrough",
];

/**
 * Checks a cache mode (-t, -T). The host's cache is always used, so that the modes differ only in when data is
 * flushed; a source has nothing to flush. `what` is how qemu-img calls it: "source cache" or "cache".
 */
export function checkCacheMode(value: string | undefined, what: string, exitCode = 1): void {
  if (value !== undefined && !CACHE_MODES.includes(value)) {
    throw new CommandError(`Invalid ${what} option: ${value}`, { exitCode });
  }
}

/** on/off and QEMU's other spellings. @throws CommandError */
export function parseSwitch(name: string, value: string): boolean {
  if (["on", "yes", "true", "y"].includes(value)) return true;
  if (["off", "no", "false", "n"].includes(value)) return false;
  throw new CommandError(`Parameter '${name}' expects 'on' or 'off'`);
}
