import { compareDisks } from "@qcow2/convert";
import { type Disk, isQcow2Error } from "@qcow2/core";
import { bufferPrimitives, nodeCodecs } from "@qcow2/node";
import type { Command, CommandContext } from "../command.ts";
import { type OpenImageOptions, openImage } from "../disks/open-image.ts";
import { CommandError, UsageError } from "../errors/command-errors.ts";
import { describeError } from "../errors/describe-error.ts";
import { parseCacheMode } from "../options/enumerations.ts";
import type { OptionSpec, ParsedArguments } from "../options/getopt.ts";
import { parseImageName } from "../options/image-name.ts";
import { startProgress } from "../progress.ts";
import {
  CACHE_HELP,
  FORCE_SHARE,
  IMAGE_OPTS,
  NOTES_ON_CACHE,
  OBJECT,
  PROGRESS,
  QUIET,
} from "./common-options.ts";

const OPTIONS: Readonly<
  Record<
    | "firstFormat"
    | "secondFormat"
    | "imageOpts"
    | "strict"
    | "progress"
    | "quiet"
    | "cache"
    | "forceShare"
    | "object",
    OptionSpec
  >
> = {
  firstFormat: {
    short: "f",
    long: "a-format",
    aliases: ["left-format"],
    value: "FMT",
    help: "format of FILE1; found out if not given",
  },
  secondFormat: {
    short: "F",
    long: "b-format",
    aliases: ["right-format"],
    value: "FMT",
    help: "format of FILE2; found out if not given",
  },
  imageOpts: IMAGE_OPTS,
  strict: { short: "s", long: "strict", help: "sizes and allocation must be equal too" },
  progress: PROGRESS,
  quiet: QUIET,
  cache: { short: "T", long: "cache", value: "MODE", help: CACHE_HELP },
  forceShare: FORCE_SHARE,
  object: OBJECT,
};

/** Exit codes of `qemu-img compare`. */
const DIFFERENT = 1;
const NOT_OPENED = 2;
const NOT_MAPPED = 3;
const NOT_READ = 4;

export const compareCommand: Command<typeof OPTIONS> = {
  options: OPTIONS,
  help: {
    usage: ["[OPTIONS] FILE1 FILE2"],
    description: `Compares what a guest would read from two images, whatever their formats. If one is larger, they are equal
if the rest of it is zero (not with -s).`,
    notes: NOTES_ON_CACHE,
    examples: ["disk.img disk.qcow2", "-p -f raw -F qcow2 /dev/sdb disk.qcow2"],
    exitCodes: [
      [0, "the images are identical"],
      [1, "they differ, or the command line is wrong"],
      [2, "an image could not be opened"],
      [3, "where an image has data could not be found out"],
      [4, "an image could not be read"],
    ],
  },
  run: runCompare,
};

async function runCompare(args: ParsedArguments<typeof OPTIONS>, context: CommandContext): Promise<number> {
  const [firstName, secondName, ...rest] = args.operands;
  if (firstName === undefined || secondName === undefined || rest.length > 0) {
    throw new UsageError("Expecting two image file names");
  }
  const cache = parseCacheMode(args.value("cache"), "source cache", NOT_OPENED);
  const quiet = args.has("quiet");
  const say = async (text: string): Promise<void> => {
    if (!quiet) await context.out.print(`${text}\n`);
  };
  const progress = await startProgress({
    wanted: args.has("progress"),
    quiet,
    stepPercent: 2,
    barByDefault: context.program === "qcow2",
    stdout: context.stdout,
  });
  let succeeded = false;
  try {
    await using codecs = nodeCodecs();
    const open = (name: string, format: string | undefined): Promise<Disk> =>
      openToCompare(name, format, args, { codecs, cache });
    await using first = await open(firstName, args.value("firstFormat"));
    await using second = await open(secondName, args.value("secondFormat"));
    const result = await compareDisks({
      first,
      second,
      strict: args.has("strict"),
      primitives: bufferPrimitives,
      onProgress: (done, total) => progress.report(done, total),
    });
    succeeded = result.identical;
    const overlap = Math.min(first.size, second.size);
    const reachedEnd = result.identical || (result.reason === "content" && result.offset >= overlap);
    if (first.size !== second.size && reachedEnd) await say("Warning: Image size mismatch!");
    await say(result.identical ? "Images are identical." : DIFFERENCES[result.reason](result.offset));
    return result.identical ? 0 : DIFFERENT;
  } catch (error) {
    throw readFailure(error);
  } finally {
    await context.out.flush();
    progress.end({ succeeded });
  }
}

const DIFFERENCES = {
  size: (): string => "Strict mode: Image size mismatch!",
  allocation: (offset: number): string => `Strict mode: Offset ${offset} block status mismatch!`,
  content: (offset: number): string => `Content mismatch at offset ${offset}!`,
} as const;

async function openToCompare(
  given: string,
  format: string | undefined,
  args: ParsedArguments<typeof OPTIONS>,
  options: Pick<OpenImageOptions, "codecs" | "cache">,
): Promise<Disk> {
  try {
    const name = parseImageName(given, {
      format,
      imageOpts: args.has("imageOpts"),
      forceShare: args.has("forceShare"),
    });
    return await openImage(name, { ...options, allowWriters: true });
  } catch (error) {
    const message = describeError(error);
    throw message === undefined ? error : new CommandError(message, { exitCode: NOT_OPENED, cause: error });
  }
}

/** Failures to map and to read have exit codes of their own. */
function readFailure(error: unknown): unknown {
  if (!isQcow2Error(error, "io")) return error;
  const exitCode = error.data.operation === "map" ? NOT_MAPPED : NOT_READ;
  return new CommandError(error.message, { exitCode, cause: error });
}
