import { Qcow2Image } from "@qcow2/core";
import type { Command, CommandContext } from "../command.ts";
import { openImage } from "../disks/open-image.ts";
import { CommandError, UsageError } from "../errors/command-errors.ts";
import { checkCacheMode, parseOutputFormat } from "../options/enumerations.ts";
import type { OptionSpec, ParsedArguments } from "../options/getopt.ts";
import { parseImageName } from "../options/image-name.ts";
import { checkJson, checkText } from "../output/check-report.ts";
import { startProgress } from "../progress.ts";
import {
  FORCE_SHARE,
  FORMAT,
  IMAGE_OPTS,
  nameOptions,
  OBJECT,
  OUTPUT,
  onlyImage,
  QUIET,
  refuseObjects,
  SOURCE_CACHE_HELP,
} from "./common-options.ts";

const OPTIONS: Readonly<
  Record<
    "quiet" | "format" | "imageOpts" | "repair" | "output" | "cache" | "forceShare" | "object",
    OptionSpec
  >
> = {
  quiet: QUIET,
  format: FORMAT,
  imageOpts: IMAGE_OPTS,
  repair: { short: "r", long: "repair", value: "leaks|all", help: "refused: repairing is not supported yet" },
  output: OUTPUT,
  cache: { short: "T", long: "cache", value: "MODE", help: SOURCE_CACHE_HELP },
  forceShare: FORCE_SHARE,
  object: OBJECT,
};

/** Exit codes of `qemu-img check`. */
const NOT_CHECKED = 1;
const CORRUPT = 2;
const LEAKS = 3;
const NO_CHECKS_FOR_FORMAT = 63;

export const checkCommand: Command<typeof OPTIONS> = {
  options: OPTIONS,
  help: {
    usage: ["[OPTIONS] FILE"],
    description: `Checks the metadata of a qcow2 image: every reference count against every reference, tables, snapshots
and bitmaps. The image is only read. What is found is listed on stderr, and summed up at the end.`,
    examples: ["disk.qcow2", "-q disk.qcow2 && echo clean", "--output=json disk.qcow2"],
    exitCodes: [
      [0, "the image is good"],
      [1, "the check could not be completed"],
      [2, "the image is corrupt"],
      [3, "clusters are leaked, which wastes space and is otherwise harmless"],
      [63, "the format has nothing to check (raw)"],
    ],
  },
  run: runCheck,
};

async function runCheck(args: ParsedArguments<typeof OPTIONS>, context: CommandContext): Promise<number> {
  refuseObjects(args);
  refuseRepair(args.value("repair"));
  const given = onlyImage(args);
  const output = parseOutputFormat(args.value("output"));
  checkCacheMode(args.value("cache"), "source cache");
  const quiet = args.has("quiet");
  const name = parseImageName(given, nameOptions(args));
  await using disk = await openImage(name, { metadataOnly: true });
  if (!(disk instanceof Qcow2Image)) {
    throw new CommandError("This image format does not support checks", { exitCode: NO_CHECKS_FOR_FORMAT });
  }
  const progress = await startProgress({
    wanted: false,
    quiet: quiet || output === "json",
    stepPercent: 1,
    barByDefault: context.program === "qcow2",
  });
  const result = await disk
    .check({
      onFinding: ({ severity, message }) => context.report(`${LABELS[severity]} ${message}`),
      onProgress: (fraction) => progress.report(Math.round(fraction * 1000), 1000),
    })
    .finally(() => progress.end({ succeeded: true }));
  if (!quiet) {
    await context.out.print(
      output === "json" ? checkJson(result, { filename: given, format: disk.format }) : checkText(result),
    );
  }
  if (result.checkErrors > 0) {
    context.warn("Check failed");
    return NOT_CHECKED;
  }
  if (result.corruptions > 0) return CORRUPT;
  return result.leaks > 0 ? LEAKS : 0;
}

const LABELS = { corruption: "ERROR", leak: "Leaked", error: "ERROR" } as const;

function refuseRepair(value: string | undefined): void {
  if (value === undefined) return;
  if (value !== "leaks" && value !== "all") {
    throw new UsageError(`--repair (-r) expects 'leaks' or 'all', not '${value}'`);
  }
  throw new CommandError("Repairing (-r) is not supported yet; nothing was changed");
}
