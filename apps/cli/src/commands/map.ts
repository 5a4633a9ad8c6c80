import type { Disk } from "@qcow2/core";
import type { Command, CommandContext } from "../command.ts";
import { layerFileNames } from "../disks/layers.ts";
import { openImage } from "../disks/open-image.ts";
import { CommandError } from "../errors/command-errors.ts";
import { parseOutputFormat } from "../options/enumerations.ts";
import type { OptionSpec, ParsedArguments } from "../options/getopt.ts";
import { parseImageName } from "../options/image-name.ts";
import { nodeFilename } from "../options/node-tree.ts";
import { requireSize } from "../options/size.ts";
import {
  emptyEntry,
  entryOf,
  joinEntries,
  MAP_HEADING,
  type MapEntry,
  mapJson,
  mapLine,
} from "../output/map-entry.ts";
import type { Printer } from "../output/printer.ts";
import { FORCE_SHARE, FORMAT, IMAGE_OPTS, nameOptions, OBJECT, OUTPUT, onlyImage } from "./common-options.ts";

const OPTIONS: Readonly<
  Record<
    "format" | "imageOpts" | "startOffset" | "maxLength" | "output" | "forceShare" | "object",
    OptionSpec
  >
> = {
  format: FORMAT,
  imageOpts: IMAGE_OPTS,
  startOffset: { short: "s", long: "start-offset", value: "SIZE", help: "begin at this byte of the disk" },
  maxLength: { short: "l", long: "max-length", value: "SIZE", help: "stop after this many bytes" },
  output: OUTPUT,
  forceShare: FORCE_SHARE,
  object: OBJECT,
};

export const mapCommand: Command<typeof OPTIONS> = {
  options: OPTIONS,
  help: {
    usage: ["[OPTIONS] FILE"],
    description: `Lists where the disk's content is: which ranges hold data, in which file of the backing chain and at which
offset, and which read as zeroes. For people, only ranges with data are listed.`,
    notes: `SIZE takes the suffixes k, M, G, T, P and E (powers of 1024).

In JSON, "depth" counts the files of the chain from 0, "present" says that a file of the chain has the range,
"zero" that it reads as zeroes, "data" that bytes are stored for it, at "offset" unless they are compressed.`,
    examples: ["disk.qcow2", "--output=json overlay.qcow2", "-s 1G -l 64M disk.qcow2"],
    exitCodes: [
      [0, "the map is complete"],
      [1, "it is not: the image could not be read, or (human form) has compressed data"],
    ],
  },
  run: runMap,
};

async function runMap(args: ParsedArguments<typeof OPTIONS>, { out }: CommandContext): Promise<number> {
  const start = sizeOf(args, "startOffset", "start offset") ?? 0;
  const maxLength = sizeOf(args, "maxLength", "max length");
  const given = onlyImage(args);
  const output = parseOutputFormat(args.value("output"));
  const name = parseImageName(given, nameOptions(args));
  await using disk = await openImage(name, { allowWriters: true });
  const end = maxLength === undefined ? disk.size : Math.min(start + maxLength, disk.size);
  const fileNames = layerFileNames(disk);
  // To QEMU, an image's file may be a part of a file, which is then told by its options.
  const file = name.node?.children.get("file");
  if (disk.format !== "raw" && typeof file === "object" && file?.children.has("file")) {
    fileNames[0] = nodeFilename(file, "raw");
  }
  const range = { disk, fileNames, start, end: Math.max(start, end) };
  await (output === "json" ? printJson(range, out) : printText(range, out));
  return 0;
}

interface Range {
  readonly disk: Disk;
  /** What holds the data of each layer. */
  readonly fileNames: readonly string[];
  /** Guest bytes, half-open. */
  readonly start: number;
  readonly end: number;
}

async function printJson(range: Range, out: Printer): Promise<void> {
  let separator = "[";
  for await (const entry of joined(entries(range), range.start)) {
    await out.print(separator + mapJson(entry));
    separator = ",\n";
  }
  await out.print("]\n");
}

async function printText(range: Range, out: Printer): Promise<void> {
  await out.print(`${MAP_HEADING}\n`);
  for await (const entry of joined(withoutZeroKinds(entries(range)), range.start)) {
    if (entry.data && entry.offset === undefined) {
      throw new CommandError("File contains external, encrypted or compressed clusters.");
    }
    if (entry.data && !entry.zero) await out.print(`${mapLine(entry, range.fileNames[entry.depth] ?? "")}\n`);
  }
}

async function* entries({ disk, start, end }: Range): AsyncGenerator<MapEntry> {
  if (start >= end) return;
  for await (const extent of disk.map({ offset: start, length: end - start })) yield entryOf(extent);
}

/** The human form shows only data, and does not care why something reads as zeroes. */
async function* withoutZeroKinds(source: AsyncIterable<MapEntry>): AsyncGenerator<MapEntry> {
  for await (const entry of source)
    yield entry.data && !entry.zero ? entry : { ...entry, data: false, zero: true };
}

/** Neighbours that say the same become one; an empty range is one entry of no length. */
async function* joined(source: AsyncIterable<MapEntry>, start: number): AsyncGenerator<MapEntry> {
  let current: MapEntry | undefined;
  for await (const next of source) {
    const both = current === undefined ? next : joinEntries(current, next);
    if (both === undefined && current !== undefined) yield current;
    current = both ?? next;
  }
  yield current ?? emptyEntry(start);
}

function sizeOf(
  args: ParsedArguments<typeof OPTIONS>,
  option: keyof typeof OPTIONS,
  what: string,
): number | undefined {
  const text = args.value(option);
  return text === undefined ? undefined : requireSize(what, text);
}
