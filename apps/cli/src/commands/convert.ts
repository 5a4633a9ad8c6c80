import type { Command, CommandContext } from "../command.ts";
import { convertImages } from "../convert/convert-images.ts";
import { CONVERT_OPTIONS, type ConvertOptionTable } from "../convert/convert-options.ts";
import { type ConvertRequest, parseConvertRequest } from "../convert/convert-request.ts";
import { CommandError } from "../errors/command-errors.ts";
import { interruptible } from "../interrupt.ts";
import { creationOptionsHelp } from "../options/creation-options.ts";
import type { ParsedArguments } from "../options/getopt.ts";
import { asksForHelp, joinOptionLists } from "../options/option-list.ts";
import { startProgress } from "../progress.ts";
import { NOTES_ON_CACHE } from "./common-options.ts";

export const convertCommand: Command<ConvertOptionTable> = {
  options: CONVERT_OPTIONS,
  help: {
    usage: ["[OPTIONS] SOURCE... TARGET"],
    description: `Copies the content of a disk image to a new image. Holes and zeroes take no space in the copy. Several
sources are put one after the other. TARGET is replaced only when the copy is complete; until then, and if
something fails, what was there stays as it was. What cannot be replaced is written in place, with a warning: a file
that has other names, is mounted by itself or named by a descriptor, or lies in a folder where nothing can be created.`,
    notes: `SIZE takes the suffixes k, M, G, T, P and E (powers of 1024).
${NOTES_ON_CACHE}`,
    examples: [
      "-p -O qcow2 disk.img disk.qcow2",
      "-p -c -O qcow2 -o compression_type=zstd disk.img small.qcow2",
      "-p disk.qcow2 disk.img",
      "-O qcow2 -B base.qcow2 -F qcow2 overlay.qcow2 copy.qcow2",
      "-l before-upgrade -O qcow2 disk.qcow2 snapshot.qcow2",
      "-p -n disk.qcow2 /dev/sdb",
    ],
    exitCodes: [
      [0, "the copy is complete"],
      [1, "it is not, or the command line is wrong"],
      [130, "stopped by Ctrl-C; nothing is left behind (143 if told to terminate)"],
    ],
  },
  run: runConvert,
};

async function runConvert(
  args: ParsedArguments<ConvertOptionTable>,
  context: CommandContext,
): Promise<number> {
  const help = optionsHelp(args);
  if (help !== undefined) {
    await context.out.print(help);
    return 0;
  }
  const request = parseConvertRequest(args);
  await interruptible((signal) => convertWithProgress(request, context, signal));
  return 0;
}

async function convertWithProgress(
  request: ConvertRequest,
  context: CommandContext,
  signal: AbortSignal,
): Promise<void> {
  const progress = await startProgress({
    wanted: request.progress,
    quiet: request.quiet,
    stepPercent: 1,
    barByDefault: context.program === "qcow2",
    stdout: context.stdout,
  });
  let succeeded = false;
  try {
    await convertImages(request, {
      program: context.program,
      signal,
      onProgress: (done, total) => progress.report(done, total),
      isWatched: () => progress.isWatched,
      onWarning: (message) => {
        if (!request.quiet) context.warn(`warning: ${message}`);
      },
    });
    succeeded = true;
  } finally {
    progress.end({ succeeded });
  }
}

function optionsHelp(args: ParsedArguments<ConvertOptionTable>): string | undefined {
  if (!args.has("options") || args.has("noCreate")) return undefined;
  if (!asksForHelp(joinOptionLists(args.values("options")))) return undefined;
  if (args.operands.length > 2) throw new CommandError("Help on options takes at most one target");
  return creationOptionsHelp(args.value("targetFormat") ?? "raw", args.operands.length === 2);
}
