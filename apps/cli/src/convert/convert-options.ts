import { CACHE_HELP, FORCE_SHARE, IMAGE_OPTS, OBJECT, PROGRESS, QUIET } from "../commands/common-options.ts";
import { COMPRESSION_LEVEL } from "../options/compression-level.ts";
import type { OptionSpec } from "../options/getopt.ts";

type Name =
  | "format"
  | "imageOpts"
  | "snapshot"
  | "sourceCache"
  | "forceShare"
  | "targetFormat"
  | "options"
  | "compress"
  | "level"
  | "backing"
  | "backingFormat"
  | "sparseSize"
  | "noCreate"
  | "targetIsZero"
  | "targetImageOpts"
  | "targetCache"
  | "outOfOrder"
  | "parallel"
  | "rateLimit"
  | "salvage"
  | "progress"
  | "quiet"
  | "copyOffload"
  | "bitmaps"
  | "skipBrokenBitmaps"
  | "object";

export type ConvertOptionTable = Readonly<Record<Name, OptionSpec>>;

export const CONVERT_OPTIONS: ConvertOptionTable = {
  format: {
    short: "f",
    long: "source-format",
    value: "FMT",
    help: "format of SOURCE; found out if not given",
  },
  imageOpts: {
    ...IMAGE_OPTS,
    aliases: ["source-image-opts"],
    help: "SOURCE is not a name but options: driver=qcow2,file.filename=PATH",
  },
  snapshot: {
    short: "l",
    long: "source-snapshot",
    aliases: ["snapshot"],
    value: "SNAPSHOT",
    help: "read this snapshot: its id or name, or snapshot.id=ID,snapshot.name=NAME",
  },
  sourceCache: { short: "T", long: "source-cache", value: "MODE", help: CACHE_HELP },
  forceShare: FORCE_SHARE,
  targetFormat: {
    short: "O",
    long: "target-format",
    aliases: ["output-format"],
    value: "FMT",
    help: "format of TARGET: raw (default) or qcow2",
  },
  options: {
    short: "o",
    long: "target-options",
    aliases: ["options", "target-format-options"],
    value: "LIST",
    help: "options of the format, NAME=VALUE,...; 'help' lists them",
  },
  compress: { short: "c", long: "compress", help: "write compressed clusters (qcow2)" },
  level: COMPRESSION_LEVEL,
  backing: {
    short: "B",
    long: "backing",
    value: "FILE",
    help: "make TARGET an overlay of FILE, which has the content of SOURCE's backing file",
  },
  backingFormat: {
    short: "F",
    long: "backing-format",
    value: "FMT",
    help: "format of the backing file; needed with -B",
  },
  sparseSize: {
    short: "S",
    long: "sparse-size",
    value: "SIZE",
    help: "leave out zeroes of at least this many bytes; default 4k, 0 writes everything",
  },
  noCreate: {
    short: "n",
    long: "no-create",
    help: "write into TARGET as it is, instead of making a new one",
  },
  targetIsZero: {
    long: "target-is-zero",
    help: "with -n: TARGET reads as zeroes, so zeroes need not be written",
  },
  targetImageOpts: { long: "target-image-opts", help: "with -n: TARGET is not a name but options" },
  targetCache: {
    short: "t",
    long: "target-cache",
    aliases: ["output-cache"],
    value: "MODE",
    help: CACHE_HELP,
  },
  outOfOrder: { short: "W", long: "oob-writes", help: "write in the order in which reads finish" },
  parallel: {
    short: "m",
    long: "parallel",
    value: "COUNT",
    help: "requests at a time, 1 to 16, default 8; and no more threads, default all cores",
  },
  rateLimit: {
    short: "r",
    long: "rate",
    aliases: ["rate-limit"],
    value: "SIZE",
    help: "write at most this many bytes in a second",
  },
  salvage: { long: "salvage", help: "read on after errors; what cannot be read becomes zeroes" },
  progress: PROGRESS,
  quiet: QUIET,
  copyOffload: {
    short: "C",
    long: "copy-range-offloading",
    help: "have the host copy or share data, where it can, without a look for zeroes",
  },
  bitmaps: { long: "bitmaps", help: "copy persistent bitmaps, too" },
  skipBrokenBitmaps: {
    long: "skip-broken-bitmaps",
    help: "with --bitmaps: leave out those that were not saved",
  },
  object: OBJECT,
};
