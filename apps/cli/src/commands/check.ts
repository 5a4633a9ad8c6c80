import {
  type CheckFinding,
  type CheckResult,
  checkStorage,
  type Irreparable,
  probeStorage,
  type RepairOptions,
  repairStorage,
  type Storage,
} from "@qcow2/core";
import { type CacheMode, fileIdentity, openImageStorage } from "@qcow2/node";
import type { Command, CommandContext } from "../command.ts";
import { placeOf } from "../disks/named-image.ts";
import { CommandError, UsageError } from "../errors/command-errors.ts";
import { couldNotOpen } from "../errors/describe-error.ts";
import { interruptible } from "../interrupt.ts";
import { parseCacheMode, parseOutputFormat } from "../options/enumerations.ts";
import type { OptionSpec, ParsedArguments } from "../options/getopt.ts";
import { assertNotShared, type ImageName, parseImageName } from "../options/image-name.ts";
import { checkJson, checkText, repairText } from "../output/check-report.ts";
import { keepOutputOutOf } from "../output/own-descriptors.ts";
import type { Terminal } from "../output/terminal.ts";
import type { ProgramName } from "../program.ts";
import { startProgress } from "../progress.ts";
import {
  CACHE_HELP,
  FORCE_SHARE,
  FORMAT,
  IMAGE_OPTS,
  NOTES_ON_CACHE,
  nameOptions,
  OBJECT,
  OUTPUT,
  onlyImage,
  QUIET,
} from "./common-options.ts";

const OPTIONS: Readonly<
  Record<
    | "quiet"
    | "format"
    | "imageOpts"
    | "repair"
    | "discardSnapshots"
    | "discardBitmaps"
    | "output"
    | "cache"
    | "forceShare"
    | "object",
    OptionSpec
  >
> = {
  quiet: QUIET,
  format: FORMAT,
  imageOpts: IMAGE_OPTS,
  repair: {
    short: "r",
    long: "repair",
    value: "leaks|all",
    help: "repair: give back leaked clusters, or all damage",
  },
  discardSnapshots: {
    long: "discard-snapshots",
    help: "with -r all: give up snapshots that cannot be read",
  },
  discardBitmaps: {
    long: "discard-bitmaps",
    help: "with -r all: give up bitmaps that cannot be read",
  },
  output: OUTPUT,
  cache: { short: "T", long: "cache", value: "MODE", help: CACHE_HELP },
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
and bitmaps. What is found is listed on stderr, and summed up at the end. The image is only read, unless -r is given.
Guest data that can be read before a repair can be read after it, and a power cut during one leaves the image no worse.`,
    notes: `-r leaks gives back clusters that nothing refers to. -r all also repairs reference counts, flags, tables, snapshots
and bitmaps: references that lead nowhere become zeroes. Snapshots and bitmaps that cannot be read are named and left as
they are, and no space is given back that could be theirs; --discard-snapshots and --discard-bitmaps give them up.
Make a copy of a damaged image first if you can.
${NOTES_ON_CACHE}`,
    examples: [
      "disk.qcow2",
      "-q disk.qcow2 && echo clean",
      "--output=json disk.qcow2",
      "-r all disk.qcow2",
      "-r all --discard-bitmaps disk.qcow2",
    ],
    exitCodes: [
      [0, "the image is good, or was repaired"],
      [1, "the check could not be completed"],
      [2, "the image is corrupt"],
      [3, "clusters are leaked, which wastes space and is otherwise harmless"],
      [63, "the format has nothing to check (raw)"],
    ],
  },
  run: runCheck,
};

async function runCheck(args: ParsedArguments<typeof OPTIONS>, context: CommandContext): Promise<number> {
  const repair = parseRepair(args.value("repair"));
  const given = onlyImage(args);
  const output = parseOutputFormat(args.value("output"));
  const cache = parseCacheMode(args.value("cache"), "source cache");
  const quiet = args.has("quiet");
  const discards = {
    discardSnapshots: args.has("discardSnapshots"),
    discardBitmaps: args.has("discardBitmaps"),
  };
  if (repair !== "all" && (discards.discardSnapshots || discards.discardBitmaps)) {
    throw new UsageError("--discard-snapshots and --discard-bitmaps go with -r all");
  }
  const name = parseImageName(given, nameOptions(args));
  if (repair !== undefined) assertNotShared(name);
  await using storage = await openToCheck(name, { readOnly: repair === undefined, cache });
  const progress = await startProgress({
    wanted: false,
    quiet: quiet || output === "json",
    stepPercent: 1,
    barByDefault: context.program === "qcow2",
    stdout: context.stdout,
  });
  const report = ({ code, message }: CheckFinding): void => {
    context.report(message);
    if (code === "refcount-overflow") context.report(adviceOnOverflow(context.program));
  };
  let outcome: Outcome;
  try {
    outcome = await checkOrRepair(storage, repair, {
      ...discards,
      onFinding: report,
      onRemaining: report,
      onRepair: (message) => context.report(message),
      onProgress: (fraction) => progress.report(Math.round(fraction * 1000), 1000),
    });
  } catch (error) {
    throw couldNotOpen(given, error);
  } finally {
    progress.end({ succeeded: true });
  }
  const { result } = outcome;
  for (const irreparable of outcome.left) context.warn(leftText(irreparable));
  if (!quiet && output === "json") {
    await context.out.print(checkJson(outcome, { filename: given, format: CHECKED_FORMAT }));
  } else if (!quiet) {
    await context.out.print(repairText(outcome) + (await textOf(result, context.terminal)));
  }
  if (result.checkErrors > 0) {
    context.warn("Check failed");
    return NOT_CHECKED;
  }
  if (result.corruptions > 0) return CORRUPT;
  return result.leaks > 0 ? LEAKS : 0;
}

async function textOf(result: CheckResult, terminal: Terminal | undefined): Promise<string> {
  if (terminal === undefined) return checkText(result);
  const { checkOnTerminal } = await import("../output/on-terminal.ts");
  return checkOnTerminal(result, terminal);
}

const CHECKED_FORMAT = "qcow2";

/**
 * The bytes of the image, not the image: what has to be checked may be too damaged to be opened.
 * @throws CommandError if it cannot be opened, or is not in a format that has checks
 */
async function openToCheck(
  name: ImageName,
  { readOnly, cache }: { readonly readOnly: boolean; readonly cache: CacheMode | undefined },
): Promise<Storage & AsyncDisposable> {
  try {
    if (!readOnly && name.readOnly === true) throw new CommandError("Block node is read-only");
    const { path, format, range, locking } = placeOf(name);
    const storage = await openImageStorage(path, {
      readOnly,
      range,
      locking,
      forceShare: name.forceShare,
      cache: name.cache ?? cache,
    });
    try {
      const identity = await fileIdentity(path);
      if (identity !== undefined) keepOutputOutOf([{ identity, readOnly }]);
      const found = format ?? (await probeStorage(storage, { path }));
      if (found === CHECKED_FORMAT) return storage;
      if (found !== "raw") throw new CommandError(`The format '${found}' is not supported`);
    } catch (error) {
      await storage.close();
      throw error;
    }
    await storage.close();
  } catch (error) {
    throw couldNotOpen(name.given, error);
  }
  throw new CommandError("This image format does not support checks", { exitCode: NO_CHECKS_FOR_FORMAT });
}

function adviceOnOverflow(program: ProgramName): string {
  return (
    `Use ${program} amend to increase the refcount entry width or ${program} convert to create a clean copy if the ` +
    "image cannot be opened for writing"
  );
}

const KINDS: Readonly<Record<Irreparable["kind"], string>> = {
  snapshot: "Snapshot",
  "snapshot-table": "The snapshot table",
  bitmap: "Bitmap",
  "bitmap-directory": "The bitmap directory",
};

function leftText({ kind, id, name, reason }: Irreparable): string {
  const named = [id, name === undefined ? undefined : `'${name}'`]
    .filter((part) => part !== undefined)
    .join(" ");
  const option = kind.startsWith("snapshot") ? "--discard-snapshots" : "--discard-bitmaps";
  return `${KINDS[kind]}${named === "" ? "" : ` ${named}`} was left as it is: ${reason} (${option} gives it up)`;
}

interface Outcome {
  /** What is wrong in the end. */
  readonly result: CheckResult;
  readonly corruptionsFixed: number;
  readonly leaksFixed: number;
  /** What was left as it is, and what was given up. */
  readonly left: readonly Irreparable[];
  readonly discarded: readonly Irreparable[];
}

async function checkOrRepair(
  storage: Storage,
  what: "leaks" | "all" | undefined,
  options: Omit<RepairOptions, "what">,
): Promise<Outcome> {
  if (what === undefined) {
    const result = await checkStorage(storage, options);
    return { result, corruptionsFixed: 0, leaksFixed: 0, left: [], discarded: [] };
  }
  return await interruptible(async (signal) => {
    const { after, ...fixed } = await repairStorage(storage, { ...options, what, signal });
    return { result: after, ...fixed };
  });
}

function parseRepair(value: string | undefined): "leaks" | "all" | undefined {
  if (value === undefined || value === "leaks" || value === "all") return value;
  throw new UsageError(`--repair (-r) expects 'leaks' or 'all' not '${value}'`);
}
