import {
  type FollowReferences,
  type ImageHealth,
  type ImageOrder,
  type ImageTrees,
  imageTrees,
} from "@qcow2/node";
import type { Command, CommandContext } from "../command.ts";
import { UsageError } from "../errors/command-errors.ts";
import { interruptible } from "../interrupt.ts";
import { parseOutputFormat } from "../options/enumerations.ts";
import type { OptionSpec, ParsedArguments } from "../options/getopt.ts";
import { imageListJson } from "../output/images/image-list-json.ts";
import { imageTable } from "../output/images/image-table.ts";
import { walkTrees } from "../output/images/walk-trees.ts";
import { styleFor } from "../output/style.ts";
import { startProgress } from "../progress.ts";
import { OUTPUT } from "./common-options.ts";

const OPTIONS: Readonly<
  Record<
    "all" | "recursive" | "sort" | "reverse" | "check" | "failOnProblem" | "follow" | "output",
    OptionSpec
  >
> = {
  all: { short: "a", long: "all", help: "hidden files and files that do not look like images, too" },
  recursive: { short: "R", long: "recursive", help: "look into folders within folders" },
  sort: {
    long: "sort",
    value: "name|virtual|disk|time",
    help: "the largest or newest first; a tree counts with all of it",
  },
  reverse: { short: "r", long: "reverse", help: "the other way round" },
  check: {
    short: "c",
    long: "check",
    help: "check all metadata of each image, as 'qcow2 check' does; implies -e",
  },
  failOnProblem: { short: "e", long: "fail-on-problem", help: "tell by the exit code what was found" },
  follow: {
    long: "follow",
    value: "any|same-directory|none",
    help: "backing files that an image may lead to; default any",
  },
  output: OUTPUT,
};

const INCOMPLETE = 1;
const BROKEN = 2;
const WARNINGS = 3;

export const lsCommand: Command<typeof OPTIONS> = {
  options: OPTIONS,
  help: {
    usage: ["[OPTIONS] [DIR|FILE...]"],
    description: `Shows the images of a folder (the current one if none is named) as the trees of their backing chains: below each
image, those that lie on it. qcow2 images are found by their first bytes; raw ones if they are called .raw or .img, or
are the backing file of another image. Only headers are read and nothing is locked, unless --check is given.`,
    notes: `USED is the part of the virtual size that the image takes on disk.
HEALTH is 'ok' if header and tables lie within the file, no mark says that the image is damaged or was not closed, and
all that it is read from is there; whether the metadata is right is known only with --check, which then says 'clean'.
Backing files elsewhere are shown by their path. They are looked at, but not checked, and a device is not opened.
Images that another process writes to are not checked, which is a warning.`,
    examples: [
      "",
      "-R /var/lib/images",
      "--sort=disk --output=json images",
      "--check images && echo all clean",
    ],
    exitCodes: [
      [0, "the images are shown; with -e: nothing is wrong with them, as far as was looked"],
      [1, "a folder or file could not be read, or the command line is wrong"],
      [2, "with -e: an image is broken: it is damaged, or something that it needs is missing"],
      [3, "with -e: nothing is broken, but an image has a warning: leaks, not closed, not checked, ..."],
    ],
  },
  run: runLs,
};

const ORDERS: Readonly<Record<string, ImageOrder>> = {
  name: "name",
  virtual: "virtual-size",
  disk: "actual-size",
  time: "modified",
};

const FOLLOW: readonly FollowReferences[] = ["any", "same-directory", "none"];

async function runLs(args: ParsedArguments<typeof OPTIONS>, context: CommandContext): Promise<number> {
  const output = parseOutputFormat(args.value("output"));
  const order = parseOrder(args.value("sort"));
  const followReferences = parseFollow(args.value("follow"));
  const paths = args.operands.length === 0 ? ["."] : args.operands;
  const isChecked = args.has("check");
  const progress = await startProgress({
    wanted: false,
    quiet: !isChecked || output === "json",
    stepPercent: 1,
    barByDefault: true,
    stdout: context.stdout,
  });
  let found: ImageTrees;
  try {
    found = await interruptible((signal) =>
      imageTrees({
        paths,
        recursive: args.has("recursive"),
        all: args.has("all"),
        reverse: args.has("reverse"),
        order,
        followReferences,
        check: isChecked,
        signal,
        onProgress: (done, total) => progress.report(Math.round(done), total),
      }),
    );
  } finally {
    progress.end({ succeeded: true });
  }
  if (output === "json") await context.out.print(imageListJson(found));
  else await printTable(found, { paths, isChecked }, context);
  for (const { error } of found.unreadable) context.warn(error.message);
  if (found.unreadable.length > 0) return INCOMPLETE;
  return isChecked || args.has("failOnProblem") ? exitCodeFor(found) : 0;
}

async function printTable(
  { trees, unreadable }: ImageTrees,
  { paths, isChecked }: { readonly paths: readonly string[]; readonly isChecked: boolean },
  { out, terminal }: CommandContext,
): Promise<void> {
  if (trees.length === 0) {
    if (unreadable.length === 0) await out.print("No images.\n");
    return;
  }
  const style = styleFor(terminal);
  for (const line of imageTable(trees, { style, nameOf: namesWithin(paths), isChecked })) {
    await out.print(`${line}\n`);
  }
}

/** What lies in the only folder that was asked for is called by its name there. */
function namesWithin(paths: readonly string[]): (path: string) => string {
  const [only, ...others] = paths;
  if (only === undefined || others.length > 0) return (path) => path;
  const prefix = only.endsWith("/") ? only : `${only}/`;
  return (path) => (path.startsWith(prefix) ? path.slice(prefix.length) : path);
}

function exitCodeFor({ trees }: ImageTrees): number {
  const found = new Set<ImageHealth>();
  for (const { image } of walkTrees(trees)) found.add(image.health);
  if (found.has("broken")) return BROKEN;
  return found.has("warning") ? WARNINGS : 0;
}

function parseOrder(value: string | undefined): ImageOrder {
  const order = ORDERS[value ?? "name"];
  if (order !== undefined) return order;
  throw new UsageError(`--sort expects ${Object.keys(ORDERS).join(", ")}, not '${value}'`);
}

function parseFollow(value: string | undefined): FollowReferences {
  const follow = FOLLOW.find((candidate) => candidate === (value ?? "any"));
  if (follow !== undefined) return follow;
  throw new UsageError(`--follow expects ${FOLLOW.join(", ")}, not '${value}'`);
}
