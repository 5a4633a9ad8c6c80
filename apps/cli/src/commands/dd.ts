import { convertDisk } from "@qcow2/convert";
import { nodeCodecs } from "@qcow2/node";
import type { Command, CommandContext } from "../command.ts";
import { warnInPlace } from "../disks/in-place-warning.ts";
import { assertNoFileOf } from "../disks/layers.ts";
import { checkNewImage, createImage } from "../disks/new-image.ts";
import { openImage } from "../disks/open-image.ts";
import { PartOfDisk } from "../disks/part-of-disk.ts";
import { assertUnchanged } from "../disks/unchanged-sources.ts";
import { CommandError } from "../errors/command-errors.ts";
import { withPrefix } from "../errors/describe-error.ts";
import { interruptible } from "../interrupt.ts";
import { CreationOptions } from "../options/creation-options.ts";
import { isUnknownFormat } from "../options/creation-schema.ts";
import type { OptionSpec, ParsedArguments } from "../options/getopt.ts";
import { parseImageName, plainPath } from "../options/image-name.ts";
import { parseSize } from "../options/size.ts";
import { FORCE_SHARE, FORMAT, IMAGE_OPTS, nameOptions, OBJECT } from "./common-options.ts";

const OPTIONS: Readonly<
  Record<"format" | "imageOpts" | "outputFormat" | "forceShare" | "object", OptionSpec>
> = {
  format: FORMAT,
  imageOpts: IMAGE_OPTS,
  outputFormat: {
    short: "O",
    long: "output-format",
    value: "FMT",
    help: "format of OUTPUT: raw (default) or qcow2",
  },
  forceShare: FORCE_SHARE,
  object: OBJECT,
};

export const ddCommand: Command<typeof OPTIONS> = {
  options: OPTIONS,
  operandWords: ["bs=", "count=", "if=", "of=", "skip="],
  help: {
    usage: ["[OPTIONS] [bs=SIZE] [count=N] [skip=N] if=INPUT of=OUTPUT"],
    description: `Copies blocks of an image to a new image. OUTPUT is replaced only when the copy is complete, and is as large as
what is copied.`,
    notes: `bs=SIZE   bytes of a block, 512 if not given; takes the suffixes k, M, G, T, P and E (powers of 1024)
count=N   copy no further than N blocks from the start of INPUT: blocks that are skipped count, as in qemu-img
skip=N    leave out the first N blocks of INPUT`,
    examples: ["if=disk.qcow2 of=disk.img", "-f raw -O qcow2 bs=1M count=100 if=disk.img of=start.qcow2"],
    exitCodes: [
      [0, "the copy is complete"],
      [1, "it is not, or the command line is wrong"],
    ],
  },
  run: runDd,
};

const DEFAULT_BLOCK_BYTES = 512;
const MAX_BLOCK_BYTES = 2n ** 31n - 1n;
const MAX_COUNT = 2n ** 63n - 1n;

async function runDd(args: ParsedArguments<typeof OPTIONS>, context: CommandContext): Promise<number> {
  const operands = parseOperands(args.operands);
  const format = args.value("outputFormat") ?? "raw";
  const options = optionsOf(format);
  checkNewImage({ options });
  const source = parseImageName(operands.input, nameOptions(args));
  const path = plainPath(operands.output);
  await interruptible(async (signal) => {
    await using codecs = nodeCodecs();
    await using disk = await openImage(source, { codecs });
    await assertNoFileOf(disk, path, "the source image");
    const reads = [{ disk, role: "the source image" }];
    const warned = {
      program: context.program,
      onWarning: (message: string) => context.warn(`warning: ${message}`),
    };
    const onInPlace = warnInPlace(warned);
    const { start, size, isBeyondEnd } = rangeOf(operands, disk.size);
    if (isBeyondEnd) context.warn(`${operands.input}: cannot skip to specified offset`);
    options.set("size", String(size));
    const image = await createImage({ path, size, options, codecs, reads, onInPlace }).catch(
      (error: unknown) => {
        throw withPrefix(`${operands.output}: error while creating output image: `, error);
      },
    );
    try {
      await convertDisk({
        source: new PartOfDisk(disk, { start, size }),
        target: image.disk,
        targetIsZero: image.isZero,
        signal,
      });
      if (!source.forceShare) assertUnchanged([disk], warned);
    } catch (error) {
      await image.abort();
      throw withPrefix("error while copying: ", error);
    }
    await image.commit();
  });
  return 0;
}

/** Unlike others, this command of qemu-img's does not name a format that it does not know. */
function optionsOf(format: string): CreationOptions {
  if (isUnknownFormat(format)) throw new CommandError("Unknown file format");
  return CreationOptions.parse(format, undefined);
}

interface Operands {
  readonly input: string;
  readonly output: string;
  readonly blockBytes: number;
  readonly count: bigint | undefined;
  readonly skip: bigint;
}

/** `name=value` operands; of repeated ones the last counts. @throws CommandError in qemu-img's words */
function parseOperands(words: readonly string[]): Operands {
  const given = new Map<string, string>();
  for (const word of words) {
    const equals = word.indexOf("=");
    const name = equals < 0 ? word : word.slice(0, equals);
    if (equals < 0 || !["bs", "count", "if", "of", "skip"].includes(name)) {
      throw new CommandError(`unrecognized operand ${name}`);
    }
    given.set(name, word.slice(equals + 1));
  }
  const [input, output] = [given.get("if"), given.get("of")];
  const blockBytes = parseBlockSize(given.get("bs"));
  const count = given.has("count") ? parseCount("count", given.get("count") as string) : undefined;
  const skip = given.has("skip") ? parseCount("skip", given.get("skip") as string) : 0n;
  if (input === undefined || output === undefined) {
    throw new CommandError("Must specify both input and output files");
  }
  return { input, output, blockBytes, count, skip };
}

function parseBlockSize(text: string | undefined): number {
  if (text === undefined) return DEFAULT_BLOCK_BYTES;
  const size = parseSize(text);
  if (size === "invalid") throw new CommandError(`Invalid bs specified: '${text}'.`);
  if (size === "out-of-range" || size < 1n || size > MAX_BLOCK_BYTES) {
    throw new CommandError(`Invalid bs specified. Must be between 1 and ${MAX_BLOCK_BYTES}.`);
  }
  return Number(size);
}

function parseCount(name: string, text: string): bigint {
  const size = /^\s*\+?(0[xX][0-9a-fA-F]+|\d+)$/.test(text)
    ? BigInt(text.replace("+", "").trim())
    : undefined;
  if (size === undefined && !/^\s*-\d+$/.test(text)) {
    throw new CommandError(`Invalid ${name} specified: '${text}'.`);
  }
  if (size === undefined || size > MAX_COUNT) {
    throw new CommandError(`Invalid ${name} specified. Must be between 0 and ${MAX_COUNT}.`);
  }
  return size;
}

/** What is copied of a disk of `diskBytes` bytes. */
function rangeOf(
  { blockBytes, count, skip }: Operands,
  diskBytes: number,
): { readonly start: number; readonly size: number; readonly isBeyondEnd: boolean } {
  const block = BigInt(blockBytes);
  const whole = BigInt(diskBytes);
  const end = count !== undefined && count * block < whole ? count * block : whole;
  const start = skip * block;
  if (start > end) return { start: 0, size: 0, isBeyondEnd: true };
  return { start: Number(start), size: Number(end - start), isBeyondEnd: false };
}
