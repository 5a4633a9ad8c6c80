import { type AmendOptions, Qcow2Image } from "@qcow2/core";
import { fileIdentity, filesOf, nodeCodecs, resolveDataFileName } from "@qcow2/node";
import type { Command, CommandContext } from "../command.ts";
import { describeDataBehind } from "../disks/data-behind.ts";
import { openWritable } from "../disks/open-image.ts";
import { CommandError, UsageError } from "../errors/command-errors.ts";
import { interruptible } from "../interrupt.ts";
import { amendmentHelp, parseAmendment } from "../options/amendment.ts";
import { parseCacheMode } from "../options/enumerations.ts";
import type { OptionSpec, ParsedArguments } from "../options/getopt.ts";
import { parseImageName } from "../options/image-name.ts";
import { asksForHelp, joinOptionLists } from "../options/option-list.ts";
import { startProgress } from "../progress.ts";
import {
  CACHE_HELP,
  FORMAT,
  IMAGE_OPTS,
  NOTES_ON_CACHE,
  NOTES_ON_NAMES,
  nameOptions,
  OBJECT,
  PROGRESS,
  QUIET,
} from "./common-options.ts";

const OPTIONS: Readonly<
  Record<"quiet" | "progress" | "format" | "imageOpts" | "options" | "cache" | "force" | "object", OptionSpec>
> = {
  quiet: QUIET,
  progress: PROGRESS,
  format: FORMAT,
  imageOpts: IMAGE_OPTS,
  options: {
    short: "o",
    long: "options",
    value: "LIST",
    help: "what to change, NAME=VALUE,...; 'help' lists the options",
  },
  cache: {
    short: "t",
    long: "cache",
    value: "MODE",
    help: CACHE_HELP,
  },
  force: { long: "force", help: "allow what loses data: a smaller size, or a version without bitmaps" },
  object: OBJECT,
};

/** Virtual sizes are multiples of it. */
const SECTOR_BYTES = 512;

export const amendCommand: Command<typeof OPTIONS> = {
  options: OPTIONS,
  help: {
    usage: ["[OPTIONS] -o LIST FILE"],
    description: `Changes options of a qcow2 image that it was created with: its version, the width of its refcounts, lazy refcounts,
its size, where its external data file is. All options are looked at before anything is changed, and each
change comes about wholly or not at all, whatever fails and whenever the power goes.`,
    notes: `'qcow2 rebase' changes the backing file, and 'qcow2 convert' what cannot be changed in place.
${NOTES_ON_CACHE}
${NOTES_ON_NAMES}`,
    examples: [
      "-o compat=1.1 old.qcow2",
      "-o refcount_bits=64 disk.qcow2",
      "-o compat=0.10,refcount_bits=16 disk.qcow2",
      "-f qcow2 -o help",
    ],
    exitCodes: [
      [0, "the image is as asked for"],
      [1, "it is not"],
    ],
  },
  run: runAmend,
};

async function runAmend(args: ParsedArguments<typeof OPTIONS>, context: CommandContext): Promise<number> {
  if (!args.has("options")) throw new UsageError("Must specify options (-o)");
  const list = joinOptionLists(args.values("options"));
  const format = args.value("format");
  if (asksForHelp(list) && (format !== undefined || args.operands.length === 0)) {
    await context.out.print(amendmentHelp(format));
    return 0;
  }
  const name = parseImageName(imageOf(args), nameOptions(args));
  const cache = parseCacheMode(args.value("cache"), "cache");
  const quiet = args.has("quiet");
  const progress = await startProgress({
    wanted: args.has("progress"),
    quiet,
    stepPercent: 1,
    barByDefault: false,
    stdout: context.stdout,
  });
  let succeeded = false;
  try {
    await interruptible(async (signal) => {
      const disk = await openWritable(name, nodeCodecs(), { discard: "unmap", cache, allowWriters: true });
      try {
        if (!(disk instanceof Qcow2Image)) {
          throw new CommandError(`Format driver '${disk.format}' does not support option amendment`);
        }
        if (asksForHelp(list)) await context.out.print(amendmentHelp(disk.format));
        else {
          const amendment = parseAmendment(list, disk.info(), context.program);
          await amend(disk, amendment, { force: args.has("force"), signal, context });
        }
      } finally {
        await disk.close();
      }
    });
    succeeded = true;
  } finally {
    progress.end({ succeeded });
  }
  return 0;
}

/** The one operand; without it there is no pointer to the help, as in qemu-img. */
function imageOf({ operands }: ParsedArguments<typeof OPTIONS>): string {
  const [name, ...rest] = operands;
  if (name === undefined || rest.length > 0) throw new CommandError("Expecting one image file name");
  return name;
}

async function amend(
  disk: Qcow2Image,
  amendment: AmendOptions,
  {
    context,
    force,
    signal,
  }: { readonly context: CommandContext; readonly force: boolean; readonly signal: AbortSignal },
): Promise<void> {
  if (amendment.dataFile !== undefined) await assertIsNoOtherFile(disk, amendment.dataFile);
  const losses = force ? [] : await lossesOf(disk, amendment);
  if (losses.length > 0 && context.program === "qcow2") {
    throw new CommandError(`${losses.join("; ")}; nothing was done (--force does it all the same)`);
  }
  for (const loss of losses) context.warn(`warning: ${loss}`);
  await disk.amend({ ...amendment, shrink: true, dropBitmaps: true, signal });
}

/** What is written as the data file would be lost as anything else. @throws CommandError */
async function assertIsNoOtherFile(disk: Qcow2Image, dataFile: string): Promise<void> {
  const identity = await fileIdentity(resolveDataFileName(dataFile));
  const current = disk.info().dataFile;
  if (current !== undefined && identity === (await fileIdentity(resolveDataFileName(current)))) return;
  const same = filesOf(disk).find((file) => file.identity === identity);
  if (same === undefined) return;
  throw new CommandError(
    `The data file '${dataFile}' is the image, or a file of its backing chain: '${same.name}'`,
  );
}

/** What would be gone afterwards; qemu-img says nothing of it, and scripts that call it get a warning. */
async function lossesOf(disk: Qcow2Image, { size, version }: AmendOptions): Promise<string[]> {
  const losses: string[] = [];
  if (size !== undefined && size < disk.size && size % SECTOR_BYTES === 0) {
    const stored = await describeDataBehind(disk, size);
    losses.push(
      `The size ${size} is smaller than the image's ${disk.size}: what lies behind it is lost, where ${stored}`,
    );
  }
  const { bitmaps } = disk.info();
  if (version === 2 && bitmaps.length > 0) {
    const names = bitmaps.map(({ name }) => `'${name}'`).join(", ");
    losses.push(`Version 2 of the format has no persistent bitmaps: ${names} would be lost`);
  }
  return losses;
}
