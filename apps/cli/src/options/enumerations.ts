/** Options with few allowed values, shared by several commands. */
import type { CacheMode } from "@qcow2/node";
import { CommandError, UsageError } from "../errors/command-errors.ts";

export type OutputFormat = "human" | "json";

/** --output */
export function parseOutputFormat(value: string | undefined): OutputFormat {
  if (value === undefined || value === "human") return "human";
  if (value === "json") return "json";
  throw new UsageError(`--output expects 'human' or 'json' not '${value}'`);
}

/** The names of the cache modes, and the modes. */
export const CACHE_MODES: Readonly<Record<string, CacheMode>> = {
  none: "none",
  off: "none",
  directsync: "directsync",
  writeback: "writeback",
  unsafe: "unsafe",
  writethrough: "writethrough",
};

/**
 * A cache mode (-t, -T); undefined if it is not given. `what` is how qemu-img calls it: "source cache" or "cache".
 * @throws CommandError
 */
export function parseCacheMode(value: string | undefined, what: string, exitCode = 1): CacheMode | undefined {
  if (value === undefined) return undefined;
  const mode = cacheModeOf(value);
  if (mode === undefined) throw new CommandError(`Invalid ${what} option: ${value}`, { exitCode });
  return mode;
}

/** The mode of that name; undefined if there is none. */
export function cacheModeOf(name: string): CacheMode | undefined {
  return Object.hasOwn(CACHE_MODES, name) ? CACHE_MODES[name] : undefined;
}

/** on/off and QEMU's other spellings. @throws CommandError */
export function parseSwitch(name: string, value: string): boolean {
  if (["on", "yes", "true", "y"].includes(value)) return true;
  if (["off", "no", "false", "n"].includes(value)) return false;
  throw new CommandError(`Parameter '${name}' expects 'on' or 'off'`);
}
