import type { Command, CommandContext } from "../command.ts";
import { checkBackingFile } from "../disks/backing-file.ts";
import { warnInPlace } from "../disks/in-place-warning.ts";
import { createImage, newFilesOf } from "../disks/new-image.ts";
import { CommandError, UsageError } from "../errors/command-errors.ts";
import { blame } from "../errors/describe-error.ts";
import { interruptible } from "../interrupt.ts";
import { CreationOptions, creationOptionsHelp } from "../options/creation-options.ts";
import type { OptionSpec, ParsedArguments } from "../options/getopt.ts";
import { plainPath } from "../options/image-name.ts";
import { asksForHelp, joinOptionLists } from "../options/option-list.ts";
import { requireSize } from "../options/size.ts";
import { OBJECT, QUIET } from "./common-options.ts";

const OPTIONS: Readonly<
  Record<"format" | "options" | "backing" | "backingFormat" | "unsafe" | "quiet" | "object", OptionSpec>
> = {
  format: {
    short: "f",
    long: "format",
    value: "FMT",
    help: "format of the new image: raw (default) or qcow2",
  },
  options: {
    short: "o",
    long: "options",
    value: "LIST",
    help: "options of the format, NAME=VALUE,...; 'help' lists them",
  },
  backing: {
    short: "b",
    long: "backing",
    value: "FILE",
    help: "show FILE's content where nothing was written",
  },
  backingFormat: {
    short: "F",
    long: "backing-format",
    value: "FMT",
    help: "format of the backing file; needed with -b",
  },
  unsafe: { short: "u", long: "backing-unsafe", help: "do not look whether the backing file is there" },
  quiet: QUIET,
  object: OBJECT,
};

export const createCommand: Command<typeof OPTIONS> = {
  options: OPTIONS,
  help: {
    usage: ["[OPTIONS] FILE [SIZE]"],
    description: `Creates an empty image. An existing FILE is replaced, but only when the new image is complete; it is written in
place, with a warning, if it has other names, is mounted by itself, or lies in a folder where nothing can be created.`,
    notes: `SIZE takes the suffixes k, M, G, T, P and E (powers of 1024). With a backing file it may be left out: the
image is then as large as that.`,
    examples: [
      "-f qcow2 disk.qcow2 20G",
      "-f qcow2 -o cluster_size=2M,preallocation=metadata disk.qcow2 1T",
      "-f qcow2 -b base.qcow2 -F qcow2 overlay.qcow2",
      "-f qcow2 -o help",
    ],
    exitCodes: [
      [0, "the image was created"],
      [1, "it was not, and nothing was changed"],
    ],
  },
  run: runCreate,
};

async function runCreate(args: ParsedArguments<typeof OPTIONS>, context: CommandContext): Promise<number> {
  const { out } = context;
  const format = args.value("format") ?? "raw";
  const list = args.has("options") ? joinOptionLists(args.values("options")) : undefined;
  const [given, sizeText, ...rest] = args.operands;
  if (list !== undefined && asksForHelp(list)) {
    await out.print(creationOptionsHelp(format, given !== undefined));
    return 0;
  }
  if (given === undefined) throw new UsageError("Expecting image file name");
  const size = sizeText === undefined ? undefined : requireSize("image size", sizeText);
  if (rest.length > 0) throw new UsageError(`Unexpected argument: ${rest[0]}`);
  try {
    const path = plainPath(given);
    const options = await completeOptions(args, { given, path, format, list, size });
    if (!args.has("quiet")) {
      await out.print(`Formatting '${given}', fmt=${format} ${options}\n`);
      await out.flush();
    }
    await interruptible(async (signal) => {
      const image = await createImage({
        path,
        size: options.number("size") ?? 0,
        options,
        onInPlace: warnInPlace({
          program: context.program,
          onWarning: (message) => {
            if (!args.has("quiet")) context.warn(`warning: ${message}`);
          },
        }),
      });
      if (signal.aborted) {
        await image.abort();
        throw signal.reason;
      }
      await image.commit();
    });
  } catch (error) {
    throw blame(given, error);
  }
  return 0;
}

interface Request {
  readonly given: string;
  readonly path: string;
  readonly format: string;
  readonly list: string | undefined;
  readonly size: number | undefined;
}

/** All options of the new image, with what -b, -F, SIZE and the backing file add to -o. */
async function completeOptions(
  args: ParsedArguments<typeof OPTIONS>,
  request: Request,
): Promise<CreationOptions> {
  const { format, list, size } = request;
  const options = CreationOptions.parse(format, list);
  if (size !== undefined) {
    if (options.has("size")) throw new CommandError("The image size must be specified only once");
    options.set("size", String(size));
  }
  options.setBacking(args.value("backing"), args.value("backingFormat"));
  const backingName = options.text("backing_file");
  if (backingName !== undefined) {
    const backing = {
      name: backingName,
      format: options.text("backing_fmt"),
      overlay: request.path,
      files: newFilesOf({ path: request.path, options }),
      open: !args.has("unsafe"),
    };
    const backingSize = await checkBackingFile(backing);
    if (!options.has("size") && backingSize !== undefined) options.set("size", String(backingSize));
  }
  if (!options.has("size")) throw new CommandError("Image creation needs a size parameter");
  return options;
}
