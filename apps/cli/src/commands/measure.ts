import { type Measurement, measureImage } from "@qcow2/convert";
import { nodeCodecs } from "@qcow2/node";
import type { Command, CommandContext } from "../command.ts";
import { openImage } from "../disks/open-image.ts";
import { CommandError } from "../errors/command-errors.ts";
import { describeError, hintsOf } from "../errors/describe-error.ts";
import { CreationOptions } from "../options/creation-options.ts";
import { parseOutputFormat } from "../options/enumerations.ts";
import type { OptionSpec, ParsedArguments } from "../options/getopt.ts";
import { parseImageName } from "../options/image-name.ts";
import { measuredLuks } from "../options/measured-encryption.ts";
import { joinOptionLists } from "../options/option-list.ts";
import { imageOptionsOf } from "../options/qcow2-options.ts";
import { requireSize } from "../options/size.ts";
import { parseSnapshotSelector } from "../options/snapshot-selector.ts";
import { formatQemuJson } from "../output/qemu-json.ts";
import { FORCE_SHARE, FORMAT, IMAGE_OPTS, nameOptions, OBJECT, OUTPUT } from "./common-options.ts";

const OPTIONS: Readonly<
  Record<
    | "targetFormat"
    | "options"
    | "size"
    | "format"
    | "imageOpts"
    | "snapshot"
    | "output"
    | "forceShare"
    | "object",
    OptionSpec
  >
> = {
  targetFormat: {
    short: "O",
    long: "target-format",
    value: "FMT",
    help: "format of the new image; default raw",
  },
  options: {
    short: "o",
    long: "options",
    aliases: ["target-format-options"],
    value: "LIST",
    help: "options of the new image, as for create",
  },
  size: { short: "s", long: "size", value: "SIZE", help: "measure an empty disk of this size" },
  format: { ...FORMAT, aliases: ["source-format"] },
  imageOpts: { ...IMAGE_OPTS, aliases: ["source-image-opts"] },
  snapshot: {
    short: "l",
    long: "snapshot",
    value: "SNAPSHOT",
    help: "measure this snapshot of FILE: its id or name",
  },
  output: OUTPUT,
  forceShare: FORCE_SHARE,
  object: OBJECT,
};

export const measureCommand: Command<typeof OPTIONS> = {
  options: OPTIONS,
  help: {
    usage: ["[OPTIONS] FILE", "[OPTIONS] --size SIZE"],
    description: `Tells how large a new image would be: for the content of FILE, or for an empty disk of SIZE. "required" is
what it needs now, "fully allocated" what it can grow to when the guest writes everywhere.`,
    notes: `With -o encrypt.format=luks, what is measured has the header of the encryption, too, though images that are encrypted
cannot be made here yet.`,
    examples: ["-O qcow2 disk.img", "-O qcow2 -o cluster_size=2M --size 1T --output=json"],
    exitCodes: [
      [0, "the size was measured"],
      [1, "it was not, or the command line is wrong"],
    ],
  },
  run: runMeasure,
};

async function runMeasure(
  args: ParsedArguments<typeof OPTIONS>,
  { out, warn, secrets, program }: CommandContext,
): Promise<number> {
  const output = parseOutputFormat(args.value("output"));
  const sizeText = args.value("size");
  const size = sizeText === undefined ? undefined : requireSize("image size", sizeText);
  const list = args.has("options") ? joinOptionLists(args.values("options")) : undefined;
  const snapshot = args.value("snapshot");
  const given = soleOperand(args, size);
  const target = targetOptions(args.value("targetFormat") ?? "raw", list, warn);
  const options = imageOptionsOf(target);
  const measure = {
    targetFormat: target.format,
    options,
    hasBackingFile: target.has("backing_file"),
    luks: measuredLuks(target, secrets),
  } as const;
  let measurement: Measurement;
  if (given === undefined) {
    measurement = await measureImage({ ...measure, size: size ?? 0 });
  } else {
    await using codecs = nodeCodecs();
    await using source = await openImage(parseImageName(given, nameOptions(args)), {
      codecs,
      allowWriters: true,
      speaker: { program, warn: (message) => warn(`warning: ${message}`) },
      snapshot: snapshot === undefined ? undefined : parseSnapshotSelector(snapshot),
    });
    measurement = await measureImage({ ...measure, source });
  }
  await out.print(output === "json" ? measurementJson(measurement) : measurementText(measurement));
  return 0;
}

/** What is wrong with the list is followed by a line that says whose it is. */
function targetOptions(
  format: string,
  list: string | undefined,
  warn: (message: string) => void,
): CreationOptions {
  const known = CreationOptions.parse(format, undefined, { isMeasured: true });
  if (list === undefined) return known;
  try {
    return CreationOptions.parse(format, list, { isMeasured: true });
  } catch (error) {
    const reason = describeError(error);
    if (reason === undefined) throw error;
    warn(reason);
    throw new CommandError(`Invalid options for file format '${format}'`, {
      cause: error,
      hints: hintsOf(error),
    });
  }
}

function soleOperand(args: ParsedArguments<typeof OPTIONS>, size: number | undefined): string | undefined {
  const [given, ...rest] = args.operands;
  if (rest.length > 0) throw new CommandError("At most one filename argument is allowed.");
  if (given === undefined) {
    if (args.has("imageOpts") || args.has("format") || args.has("snapshot")) {
      throw new CommandError("--image-opts, -f, and -l require a filename argument.");
    }
    if (size === undefined) throw new CommandError("Either --size N or one filename must be specified.");
  } else if (size !== undefined) {
    throw new CommandError("--size N cannot be used together with a filename.");
  }
  return given;
}

function measurementJson({ required, fullyAllocated, bitmaps }: Measurement): string {
  return `${formatQemuJson({ required, "fully-allocated": fullyAllocated, bitmaps })}\n`;
}

function measurementText({ required, fullyAllocated, bitmaps }: Measurement): string {
  const text = `required size: ${required}\nfully allocated size: ${fullyAllocated}\n`;
  return bitmaps === undefined ? text : `${text}bitmaps size: ${bitmaps}\n`;
}
