import type { Command, CommandContext } from "../command.ts";
import { UsageError } from "../errors/command-errors.ts";
import { interruptible } from "../interrupt.ts";
import { COMPRESSION_LEVEL, parseCompressionLevel } from "../options/compression-level.ts";
import { parseCacheMode } from "../options/enumerations.ts";
import type { OptionSpec, ParsedArguments } from "../options/getopt.ts";
import { parseImageName } from "../options/image-name.ts";
import { startProgress } from "../progress.ts";
import { type RebaseRequest, rebaseImage } from "../rebase/rebase-image.ts";
import {
  CACHE_HELP,
  FORCE_SHARE,
  FORMAT,
  IMAGE_OPTS,
  NOTES_ON_CACHE,
  NOTES_ON_NAMES,
  OBJECT,
  onlyImage,
  PROGRESS,
  QUIET,
} from "./common-options.ts";

const OPTIONS: Readonly<
  Record<
    | "format"
    | "imageOpts"
    | "backing"
    | "backingFormat"
    | "unsafe"
    | "force"
    | "compress"
    | "level"
    | "forceShare"
    | "cache"
    | "sourceCache"
    | "progress"
    | "quiet"
    | "object",
    OptionSpec
  >
> = {
  format: FORMAT,
  imageOpts: IMAGE_OPTS,
  backing: {
    short: "b",
    long: "backing",
    value: "NEW",
    help: 'the new backing file, relative to FILE; "" for none',
  },
  backingFormat: {
    short: "F",
    long: "backing-format",
    value: "FMT",
    help: "format of the new backing file; needed with one",
  },
  unsafe: {
    short: "u",
    long: "backing-unsafe",
    help: "change the name only: NEW has the content of the old backing file",
  },
  force: { long: "force", help: "rebase although FILE's internal snapshots read the backing file" },
  compress: { short: "c", long: "compress", help: "compress what is copied into FILE" },
  level: COMPRESSION_LEVEL,
  forceShare: { ...FORCE_SHARE, help: "open NEW even while another process writes to it" },
  cache: { short: "t", long: "cache", value: "MODE", help: CACHE_HELP },
  sourceCache: { short: "T", long: "backing-cache", value: "MODE", help: CACHE_HELP },
  progress: PROGRESS,
  quiet: QUIET,
  object: OBJECT,
};

export const rebaseCommand: Command<typeof OPTIONS> = {
  options: OPTIONS,
  help: {
    usage: ["[-u] -b NEW -F FMT [OPTIONS] FILE", '-b "" [OPTIONS] FILE'],
    description: `Gives an overlay another backing file. Where the two backing files differ and FILE defines nothing, FILE is given
what it shows now, so that it reads the same afterwards; with -b "" it needs no backing file at all then.
If the command fails, is interrupted, or the power goes, FILE reads the same over the old backing file; it
changes to the new one in one step, when everything that it needs is in it.`,
    notes: `Internal snapshots of FILE are not given what they show: they would read NEW where they read the old backing
file now. Nothing is done if there are any, unless --force is given. (Called as qemu-img, there is a warning,
and no more.)
-u looks at no backing file: use it if one was moved or renamed. If its content is another, so is FILE's.
A chain that would come back to FILE is refused, with -u too.
${NOTES_ON_CACHE}
${NOTES_ON_NAMES}`,
    examples: [
      "-p -b new-base.qcow2 -F qcow2 overlay.qcow2",
      '-p -b "" overlay.qcow2',
      "-u -b /new/place/base.qcow2 -F qcow2 overlay.qcow2",
    ],
    exitCodes: [
      [0, "FILE has the new backing file"],
      [1, "FILE has the old one, and reads as before"],
      [130, "stopped by Ctrl-C; FILE has the old one, and reads as before (143 if told to terminate)"],
    ],
  },
  run: runRebase,
};

async function runRebase(args: ParsedArguments<typeof OPTIONS>, context: CommandContext): Promise<number> {
  const given = onlyImage(args);
  const backing = args.value("backing");
  const unsafe = args.has("unsafe");
  if (!unsafe && backing === undefined) {
    throw new UsageError("Must specify backing file (-b) or use unsafe mode (-u)");
  }
  const cache = parseCacheMode(args.value("cache"), "cache");
  const backingCache = parseCacheMode(args.value("sourceCache"), "source cache");
  const request: RebaseRequest = {
    name: parseImageName(given, { format: args.value("format"), imageOpts: args.has("imageOpts") }),
    backing: backing === "" ? undefined : backing,
    backingFormat: args.value("backingFormat"),
    unsafe,
    force: args.has("force"),
    warn: context.warn,
    compress: args.has("compress"),
    level: parseCompressionLevel(args.value("level"), args.has("compress")),
    forceShare: args.has("forceShare"),
    cache,
    backingCache,
    program: context.program,
  };
  await interruptible(async (signal) => {
    const progress = await startProgress({
      wanted: args.has("progress"),
      quiet: args.has("quiet"),
      stepPercent: 2,
      barByDefault: context.program === "qcow2",
      stdout: context.stdout,
    });
    let succeeded = false;
    try {
      await rebaseImage(request, {
        signal,
        onProgress: (done, total) => progress.report(done, total),
      });
      succeeded = true;
    } finally {
      progress.end({ succeeded });
    }
  });
  return 0;
}
