/** `--level`, of the commands that compress. */
import { MAX_COMPRESSION_LEVEL } from "@qcow2/node";
import { CommandError } from "../errors/command-errors.ts";
import type { OptionSpec } from "./getopt.ts";

/** Not `--compression-level`: scripts may shorten `--compress` as far as it is the only one that begins so. */
export const COMPRESSION_LEVEL: OptionSpec = {
  long: "level",
  value: "LEVEL",
  help: "with -c: 1 (fast) to 9 (small), with zstd to 22; default 4, with zstd 3",
};

/** @throws CommandError for anything but a level that one of the libraries has, and without compression */
export function parseCompressionLevel(text: string | undefined, compress: boolean): number | undefined {
  if (text === undefined) return undefined;
  if (!compress) throw new CommandError("--level needs -c");
  const level = /^\d{1,2}$/.test(text) ? Number(text) : 0;
  if (level < 1 || level > MAX_COMPRESSION_LEVEL.zstd) {
    throw new CommandError(`Invalid compression level '${text}': 1 to 9, with zstd to 22`);
  }
  return level;
}
