import { type BitmapAction, type Disk, Qcow2Image, type WritableDisk } from "@qcow2/core";
import { nodeCodecs } from "@qcow2/node";
import type { Command } from "../command.ts";
import { assertNothingShared } from "../disks/layers.ts";
import { openImage, openWritable } from "../disks/open-image.ts";
import { CommandError } from "../errors/command-errors.ts";
import { withPrefix } from "../errors/describe-error.ts";
import { interruptible } from "../interrupt.ts";
import type { OptionSpec, ParsedArguments } from "../options/getopt.ts";
import { parseImageName } from "../options/image-name.ts";
import { requireSize } from "../options/size.ts";
import { FORMAT, IMAGE_OPTS, NOTES_ON_NAMES, nameOptions, OBJECT } from "./common-options.ts";

const OPTIONS: Readonly<
  Record<
    | "add"
    | "granularity"
    | "remove"
    | "clear"
    | "enable"
    | "disable"
    | "merge"
    | "sourceFile"
    | "sourceFormat"
    | "format"
    | "imageOpts"
    | "object",
    OptionSpec
  >
> = {
  add: { long: "add", help: "add BITMAP, which follows the disk's changes from then on" },
  granularity: {
    short: "g",
    long: "granularity",
    value: "SIZE",
    help: "with --add: bytes that one bit stands for, a power of two from 512",
  },
  remove: { long: "remove", help: "remove BITMAP" },
  clear: { long: "clear", help: "mark everything as not changed" },
  enable: { long: "enable", help: "follow the disk's changes" },
  disable: { long: "disable", help: "do not follow the disk's changes" },
  merge: { long: "merge", value: "SOURCE", help: "add what the bitmap SOURCE says is changed" },
  sourceFile: {
    short: "b",
    long: "source-file",
    value: "FILE",
    help: "with --merge: the image that has SOURCE",
  },
  sourceFormat: { short: "F", long: "source-format", value: "FMT", help: "format of that image" },
  format: FORMAT,
  imageOpts: IMAGE_OPTS,
  object: OBJECT,
};

const ACTIONS = ["add", "remove", "clear", "enable", "disable", "merge"] as const;
type ActionName = (typeof ACTIONS)[number];

export const bitmapCommand: Command<typeof OPTIONS> = {
  options: OPTIONS,
  help: {
    usage: ["ACTION... [OPTIONS] FILE BITMAP"],
    description: `Persistent bitmaps of a qcow2 image, which say what was changed since a backup: adds, removes, clears, merges them.
The actions (--add, --remove, --clear, --enable, --disable, --merge) are done in the order in which they are given,
all or none of them, whatever fails and whenever the power goes.`,
    notes: `A bitmap that was in use when a machine or a program was killed may have missed changes: it can only be removed.
'qcow2 info' lists the bitmaps of an image.
${NOTES_ON_NAMES}`,
    examples: [
      "--add -g 64k disk.qcow2 since-monday",
      "--disable disk.qcow2 since-monday",
      "--add --merge since-monday --merge since-sunday disk.qcow2 both",
      "--merge changes -b overlay.qcow2 -F qcow2 disk.qcow2 since-monday",
    ],
    exitCodes: [
      [0, "it was done"],
      [1, "it was not, and the image is what it was"],
    ],
  },
  run: runBitmap,
};

async function runBitmap(args: ParsedArguments<typeof OPTIONS>): Promise<number> {
  const actions = args.inOrder(ACTIONS);
  checkCombinations(args, actions.length);
  const [given, bitmap, ...rest] = args.operands;
  if (given === undefined || bitmap === undefined || rest.length > 0) {
    throw new CommandError("Expecting filename and bitmap name");
  }
  const granularity = args.value("granularity");
  const request = {
    bitmap,
    actions,
    granularity: granularity === undefined ? undefined : requireSize("granularity", granularity),
  };
  const name = parseImageName(given, nameOptions(args));
  const sourceFile = args.value("sourceFile");
  await interruptible(async (signal) => {
    const disk = await openWritable(name, nodeCodecs(), { discard: "unmap", allowWriters: true });
    try {
      await using source =
        sourceFile === undefined
          ? undefined
          : await openImage(parseImageName(sourceFile, { format: args.value("sourceFormat") }), {
              metadataOnly: true,
              readOnly: true,
            });
      if (source !== undefined) assertNothingShared(disk, source, "the image to be changed");
      await change(disk, source, request, signal);
    } finally {
      await disk.close();
    }
  });
  return 0;
}

function checkCombinations(args: ParsedArguments<typeof OPTIONS>, actions: number): void {
  if (actions === 0) {
    throw new CommandError("Need at least one of --add, --remove, --clear, --enable, --disable, or --merge");
  }
  if (args.has("granularity") && !args.has("add")) {
    throw new CommandError("granularity only supported with --add");
  }
  if (args.has("sourceFile") && !args.has("merge")) {
    throw new CommandError("Merge bitmap source file only supported with --merge");
  }
  if (args.has("sourceFormat") && !args.has("sourceFile"))
    throw new CommandError("-F only supported with -b");
}

interface BitmapRequest {
  readonly bitmap: string;
  readonly actions: readonly { readonly name: ActionName; readonly value: string }[];
  readonly granularity: number | undefined;
}

/** All actions at once, or none of them. */
async function change(
  disk: WritableDisk,
  source: Disk | undefined,
  { bitmap, actions, granularity }: BitmapRequest,
  signal: AbortSignal,
): Promise<void> {
  let current = actions[0]?.name;
  try {
    if (!(disk instanceof Qcow2Image)) {
      throw new CommandError(
        `Can't store persistent bitmaps to images of the format '${disk.format}': Operation not supported`,
      );
    }
    const wanted: BitmapAction[] = [];
    for (const { name, value } of actions) {
      current = name;
      wanted.push(await actionOf(name, value, { bitmap, granularity, source }));
    }
    await disk.changeBitmaps(wanted, {
      signal,
      onAction: ({ kind }) => {
        current = kind;
      },
    });
  } catch (error) {
    if (error === signal.reason) throw error;
    throw withPrefix(`Operation ${current} on bitmap ${bitmap} failed: `, error);
  }
}

async function actionOf(
  kind: ActionName,
  value: string,
  {
    bitmap: name,
    granularity,
    source,
  }: { readonly bitmap: string; readonly granularity: number | undefined; readonly source: Disk | undefined },
): Promise<BitmapAction> {
  if (kind === "add") return { kind, name, granularity };
  if (kind !== "merge") return { kind, name };
  if (source === undefined) return { kind, name, source: value };
  if (!(source instanceof Qcow2Image)) throw new CommandError(`Dirty bitmap '${value}' not found`);
  return { kind, name, source: value, from: await source.dirtyRanges(value) };
}
