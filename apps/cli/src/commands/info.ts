import type { Command, CommandContext } from "../command.ts";
import { describeChain } from "../disks/describe-image.ts";
import { parseOutputFormat } from "../options/enumerations.ts";
import type { OptionSpec, ParsedArguments } from "../options/getopt.ts";
import { parseImageName } from "../options/image-name.ts";
import { reportJson, reportText } from "../output/image-report.ts";
import { formatQemuJson } from "../output/qemu-json.ts";
import {
  FORCE_SHARE,
  FORMAT,
  IMAGE_OPTS,
  NOTES_ON_NAMES,
  nameOptions,
  OBJECT,
  OUTPUT,
  onlyImage,
} from "./common-options.ts";

const OPTIONS: Readonly<
  Record<"format" | "imageOpts" | "backingChain" | "forceShare" | "output" | "object", OptionSpec>
> = {
  format: FORMAT,
  imageOpts: IMAGE_OPTS,
  backingChain: {
    short: "b",
    long: "backing-chain",
    help: "show the backing files too, one after the other",
  },
  forceShare: FORCE_SHARE,
  output: OUTPUT,
  object: OBJECT,
};

export const infoCommand: Command<typeof OPTIONS> = {
  options: OPTIONS,
  help: {
    usage: ["[OPTIONS] FILE"],
    description: `Shows what an image is: its format, virtual size and space on disk, backing file, snapshots, bitmaps.
Neither guest data nor (without --backing-chain) any other file is read.`,
    notes: `${NOTES_ON_NAMES}
On a terminal the text has colours and more units; for scripts there is --output=json.`,
    examples: ["disk.qcow2", "--output=json --backing-chain overlay.qcow2", "-f raw disk.img"],
    exitCodes: [
      [0, "the image was described"],
      [1, "it could not be opened, or the command line is wrong"],
    ],
  },
  run: runInfo,
};

async function runInfo(
  args: ParsedArguments<typeof OPTIONS>,
  { out, terminal }: CommandContext,
): Promise<number> {
  const given = onlyImage(args);
  const output = parseOutputFormat(args.value("output"));
  const wholeChain = args.has("backingChain");
  const reports = await describeChain(parseImageName(given, nameOptions(args)), { wholeChain });
  if (output === "human" && terminal !== undefined) {
    const { reportOnTerminal } = await import("../output/on-terminal.ts");
    await out.print(reports.map((report) => reportOnTerminal(report, terminal)).join("\n"));
  } else if (output === "human") {
    await out.print(reports.map(reportText).join("\n"));
  } else {
    const values = reports.map(reportJson);
    await out.print(`${formatQemuJson(wholeChain ? values : values[0]!)}\n`);
  }
  return 0;
}
