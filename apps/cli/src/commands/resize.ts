import {
  isQcow2Error,
  type Preallocation,
  type Qcow2Error,
  Qcow2Image,
  type WritableDisk,
} from "@qcow2/core";
import { nodeCodecs } from "@qcow2/node";
import type { Command, CommandContext } from "../command.ts";
import { describeDataBehind } from "../disks/data-behind.ts";
import { openWritable } from "../disks/open-image.ts";
import { CommandError, UsageError } from "../errors/command-errors.ts";
import { errnoText } from "../errors/errno-text.ts";
import { interruptible } from "../interrupt.ts";
import type { OptionSpec, ParsedArguments } from "../options/getopt.ts";
import { parseImageName } from "../options/image-name.ts";
import { PREALLOCATIONS } from "../options/qcow2-options.ts";
import { exactNumber, invalidSizeOption, parseSize } from "../options/size.ts";
import { FORMAT, IMAGE_OPTS, NOTES_ON_NAMES, nameOptions, OBJECT, QUIET } from "./common-options.ts";

const OPTIONS: Readonly<
  Record<"quiet" | "format" | "imageOpts" | "shrink" | "preallocation" | "object", OptionSpec>
> = {
  quiet: QUIET,
  format: FORMAT,
  imageOpts: IMAGE_OPTS,
  shrink: { long: "shrink", help: "allow a smaller size: what lies behind it is lost" },
  preallocation: {
    long: "preallocation",
    value: "off|metadata|falloc|full",
    help: "reserve what is added",
  },
  object: OBJECT,
};

export const resizeCommand: Command<typeof OPTIONS> = {
  options: OPTIONS,
  lastIsOperand: true,
  help: {
    usage: ["[OPTIONS] FILE SIZE", "[OPTIONS] FILE +SIZE|-SIZE"],
    description: `Changes the virtual size of an image, to SIZE or by SIZE. What is added reads as zeroes, also over a longer backing
file; partitions and file systems in it stay as they are, to be grown from within. Snapshots keep their own size.
A change of a qcow2 image comes about wholly or not at all: if it fails or the power goes, the image is what it was.`,
    notes: `SIZE takes the suffixes k, M, G, T, P and E (powers of 1024).
${NOTES_ON_NAMES}`,
    examples: [
      "disk.qcow2 +10G",
      "--shrink disk.qcow2 20G",
      "--preallocation=falloc disk.qcow2 40G",
      "-f raw disk.img 8G",
    ],
    exitCodes: [
      [0, "the image has the new size"],
      [1, "it was not resized, and is what it was"],
    ],
  },
  run: runResize,
};

async function runResize(args: ParsedArguments<typeof OPTIONS>, context: CommandContext): Promise<number> {
  const [given, sizeText, ...rest] = args.operands;
  if (given === undefined || sizeText === undefined) {
    throw new UsageError("Expecting image file name and size");
  }
  if (rest.length > 0) throw new UsageError("Extra argument(s) in command line");
  const preallocation = preallocationOf(args.value("preallocation"));
  const change = parseChange(sizeText);
  const name = parseImageName(given, nameOptions(args));
  await interruptible(async (signal) => {
    const disk = await openWritable(name, nodeCodecs(), { discard: "unmap", allowWriters: true });
    try {
      await resize(disk, sizeAfter(disk, change), context, {
        shrink: args.has("shrink"),
        preallocation,
        signal,
      });
    } finally {
      await disk.close();
    }
  });
  if (!args.has("quiet")) await context.out.print("Image resized.\n");
  return 0;
}

async function resize(
  disk: WritableDisk,
  size: number,
  context: CommandContext,
  options: { readonly shrink: boolean; readonly preallocation: Preallocation; readonly signal: AbortSignal },
): Promise<void> {
  if (size <= 0) throw new CommandError("New image size must be positive");
  if (size < disk.size && options.preallocation !== "off") {
    throw new CommandError("Preallocation can only be used for growing images");
  }
  if (size < disk.size && !options.shrink) throw await refusedShrink(disk, size, context);
  if (disk.resize === undefined) {
    throw new CommandError(`The format '${disk.format}' does not support resizing`);
  }
  try {
    await disk.resize({ size, ...options });
  } catch (error) {
    throw isTooLarge(error) ? tooLarge(error) : error;
  }
}

function isTooLarge(error: unknown): error is Qcow2Error {
  return isQcow2Error(error, "invalid-option") && error.data.reason === "size-too-large";
}

function tooLarge(cause?: unknown): CommandError {
  return new CommandError(`Failed to grow the L1 table: ${errnoText("EFBIG")}`, { cause });
}

/** Says what would be lost; to scripts that call qemu-img, what that says. */
async function refusedShrink(
  disk: WritableDisk,
  size: number,
  { program }: CommandContext,
): Promise<CommandError> {
  const message = "Use the --shrink option to perform a shrink operation";
  if (program === "qemu-img") {
    return new CommandError(`${message}.`, {
      warning:
        "Shrinking an image will delete all data beyond the shrunken image's end. Before performing such an " +
        "operation, make sure there is no important data there.",
    });
  }
  const stored = await describeDataBehind(disk, size);
  return new CommandError(`${message}: it deletes all data behind the new end, where ${stored}`);
}

interface SizeChange {
  readonly sign: "+" | "-" | undefined;
  readonly bytes: bigint;
}

function parseChange(text: string): SizeChange {
  const sign = text.startsWith("+") ? "+" : text.startsWith("-") ? "-" : undefined;
  const digits = sign === undefined ? text : text.slice(1);
  const size = parseSize(digits);
  if (size === "out-of-range")
    throw new CommandError(`Value '${digits}' is out of range for parameter 'size'`);
  if (size === "invalid") throw invalidSizeOption("size");
  // As qemu-img reads it: what does not fit into 63 bits is negative.
  if (size > 2n ** 63n - 1n) throw new CommandError("New image size must be positive");
  return { sign, bytes: size };
}

function sizeAfter(disk: WritableDisk, { sign, bytes }: SizeChange): number {
  const current = BigInt(disk.size);
  const size = sign === undefined ? bytes : sign === "+" ? current + bytes : current - bytes;
  if (size < 0n) return -1;
  if (size > BigInt(Number.MAX_SAFE_INTEGER) && disk instanceof Qcow2Image) throw tooLarge();
  return exactNumber("image size", size);
}

function preallocationOf(text: string | undefined): Preallocation {
  if (text === undefined) return "off";
  const mode = PREALLOCATIONS.find((known) => known === text);
  if (mode === undefined) throw new CommandError(`Invalid preallocation mode '${text}'`);
  return mode;
}
