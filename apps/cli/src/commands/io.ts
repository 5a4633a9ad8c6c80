import { nodeCodecs } from "@qcow2/node";
import type { Command, CommandContext } from "../command.ts";
import { CommandError, UsageError } from "../errors/command-errors.ts";
import { promptedLines } from "../io/command-lines.ts";
import { OPEN_OPTIONS, openFlags } from "../io/open-flags.ts";
import { openIoImage } from "../io/open-io-image.ts";
import { Refusal } from "../io/refusal.ts";
import { runLine } from "../io/run-line.ts";
import { IoSession } from "../io/session.ts";
import type { OptionSpec, ParsedArguments } from "../options/getopt.ts";
import { parseImageName } from "../options/image-name.ts";
import { versionText } from "../output/version-text.ts";
import { FORMAT, IMAGE_OPTS, NOTES_ON_NAMES, OBJECT } from "./common-options.ts";

const OPTIONS: Readonly<
  Record<
    | keyof typeof OPEN_OPTIONS
    | "command"
    | "format"
    | "imageOpts"
    | "misalign"
    | "trace"
    | "object"
    | "version",
    OptionSpec
  >
> = {
  command: {
    short: "c",
    long: "cmd",
    value: "COMMAND",
    help: "run this command; may be repeated; default: commands are read from standard input",
  },
  format: FORMAT,
  imageOpts: IMAGE_OPTS,
  ...OPEN_OPTIONS,
  misalign: { short: "m", long: "misalign", help: "accepted for scripts" },
  trace: { short: "T", long: "trace", value: "WHAT", help: "refused: tracing is not supported" },
  object: OBJECT,
  version: { short: "V", long: "version", help: "print the version and exit" },
};

export const ioCommand: Command<typeof OPTIONS> = {
  options: OPTIONS,
  help: {
    usage: ["[OPTIONS] [-c COMMAND]... [FILE]"],
    description: `Reads, writes and inspects an image by single commands, with the commands and the output of qemu-io: for tests,
for scripts, and for looking at what is where. -c help lists the commands, and -c 'help read' explains one.`,
    notes: `As in qemu-io, and unlike in the other commands here, every write is durable when it ends, and discards give up
space: see -t and -d. The commands' offsets and lengths take the suffixes k, M, G, T, P and E (powers of 1024).
Words are separated by spaces, and nothing quotes a space.
${NOTES_ON_NAMES}`,
    examples: [
      "-c 'write -P 0x5a 1M 64k' -c 'read -P 0x5a 1M 64k' disk.qcow2",
      "-r -c 'read -v 0 512' -c map disk.qcow2",
      "-c 'aio_write 0 1M' -c 'aio_read 4M 1M' -c aio_flush disk.qcow2",
      "-s disk.qcow2",
    ],
    exitCodes: [
      [0, "every command succeeded"],
      [1, "one did not, or the image could not be opened"],
    ],
  },
  run: runIo,
};

async function runIo(args: ParsedArguments<typeof OPTIONS>, context: CommandContext): Promise<number> {
  if (args.has("version")) {
    await context.out.print(versionText("qemu-io"));
    return 0;
  }
  if (args.has("trace")) throw new CommandError("Tracing is not supported");
  const [given, ...rest] = args.operands;
  if (rest.length > 0) throw new UsageError("Expecting at most one image file name");
  if (args.has("imageOpts") && args.has("format")) {
    throw new CommandError("--image-opts and -f are mutually exclusive");
  }
  // One cluster at a time: worker threads would take longer to start than to compress it.
  await using codecs = nodeCodecs({ threads: 0 });
  const session = new IoSession(context, codecs);
  try {
    const flags = openFlags(args);
    if (given !== undefined) {
      const options = { format: args.value("format"), imageOpts: args.has("imageOpts") };
      session.image = await openIoImage({ name: parseImageName(given, options), flags, codecs });
    }
  } catch (error) {
    throw error instanceof Refusal ? new CommandError(error.message, { cause: error }) : error;
  }
  return await runCommands(args.values("command"), session);
}

async function runCommands(given: readonly string[], session: IoSession): Promise<number> {
  let succeeded = true;
  try {
    for await (const line of given.length > 0 ? given : promptedLines(session)) {
      const outcome = await runLine(line, session);
      if (outcome === "failed") succeeded = false;
      if (outcome === "quit") break;
    }
  } finally {
    await session.closeImage();
  }
  return succeeded ? 0 : 1;
}
