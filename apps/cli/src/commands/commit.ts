import { commitDisk } from "@qcow2/convert";
import { type Disk, Qcow2Image, RawDisk, type WritableDisk } from "@qcow2/core";
import { bufferPrimitives, type CacheMode, nodeCodecs } from "@qcow2/node";
import type { Command, CommandContext } from "../command.ts";
import { describeDependentImages } from "../disks/dependent-images.ts";
import { depthOfBackingFile, layerPaths } from "../disks/layers.ts";
import { openImage, openWritable } from "../disks/open-image.ts";
import { describeSnapshotsAbove } from "../disks/snapshots-above.ts";
import { assertUnchanged } from "../disks/unchanged-sources.ts";
import { CommandError } from "../errors/command-errors.ts";
import { interruptible } from "../interrupt.ts";
import { parseCacheMode } from "../options/enumerations.ts";
import type { OptionSpec, ParsedArguments } from "../options/getopt.ts";
import { type ImageName, parseImageName } from "../options/image-name.ts";
import { requireSize } from "../options/size.ts";
import { type Progress, startProgress } from "../progress.ts";
import {
  CACHE_HELP,
  FORMAT,
  IMAGE_OPTS,
  NOTES_ON_CACHE,
  NOTES_ON_NAMES,
  OBJECT,
  onlyImage,
  PROGRESS,
  QUIET,
} from "./common-options.ts";

const OPTIONS: Readonly<
  Record<
    | "format"
    | "imageOpts"
    | "base"
    | "keep"
    | "force"
    | "rateLimit"
    | "cache"
    | "progress"
    | "quiet"
    | "object",
    OptionSpec
  >
> = {
  format: FORMAT,
  imageOpts: IMAGE_OPTS,
  base: {
    short: "b",
    long: "base",
    value: "FILE",
    help: "write into this file of the backing chain, not into the next one; implies -d",
  },
  keep: { short: "d", long: "drop", help: "leave the image as it is, instead of emptying it" },
  force: { long: "force", help: "commit although other images or snapshots read the backing file" },
  rateLimit: {
    short: "r",
    long: "rate",
    aliases: ["rate-limit"],
    value: "SIZE",
    help: "write at most this many bytes in a second",
  },
  cache: { short: "t", long: "cache", value: "MODE", help: CACHE_HELP },
  progress: PROGRESS,
  quiet: QUIET,
  object: OBJECT,
};

export const commitCommand: Command<typeof OPTIONS> = {
  options: OPTIONS,
  help: {
    usage: ["[OPTIONS] FILE"],
    description: `Writes what an overlay holds into its backing file, and empties the overlay. A backing file that is shorter
grows. No machine may run on either. The overlay is emptied only when all of it is safely in the backing file:
if the command fails, is interrupted, or the power goes, the overlay reads as before, and committing it again
completes the work.`,
    notes: `The backing file changes, and so does whatever else reads it: internal snapshots of FILE, and other images.
Such images beside it or beside FILE are looked for, and nothing is done if there are any, or if there are
such snapshots, unless --force is given. (Called as qemu-img, there is a warning, and no more.) With -b, the
images between FILE and that file are of no use by themselves afterwards.
SIZE takes the suffixes k, M, G, T, P and E (powers of 1024).
${NOTES_ON_CACHE}
${NOTES_ON_NAMES}`,
    examples: [
      "-p overlay.qcow2",
      "-d overlay.qcow2 && rm overlay.qcow2",
      "-b base.qcow2 top.qcow2",
      "-r 50M overlay.qcow2",
    ],
    exitCodes: [
      [0, "the backing file holds all of it"],
      [1, "it was not done, or not to the end; the overlay reads as before"],
      [130, "stopped by Ctrl-C; the overlay reads as before (143 if told to terminate)"],
    ],
  },
  run: runCommit,
};

interface Request {
  readonly name: ImageName;
  readonly base: string | undefined;
  readonly empties: boolean;
  readonly force: boolean;
  readonly cache: CacheMode | undefined;
  readonly rateLimit: number;
}

async function runCommit(args: ParsedArguments<typeof OPTIONS>, context: CommandContext): Promise<number> {
  const rate = args.value("rateLimit");
  const rateLimit = rate === undefined ? 0 : requireSize("rate limit", rate);
  const given = onlyImage(args);
  const cache = parseCacheMode(args.value("cache"), "cache");
  const names = { format: args.value("format"), imageOpts: args.has("imageOpts") };
  const base = args.value("base");
  const request: Request = {
    name: parseImageName(given, names),
    base,
    empties: base === undefined && !args.has("keep"),
    force: args.has("force"),
    cache,
    rateLimit,
  };
  const quiet = args.has("quiet");
  await interruptible(async (signal) => {
    const depth = await depthOfBase(request);
    await using codecs = nodeCodecs();
    const overlay = await openWritable(request.name, codecs, {
      writableBacking: depth,
      discard: "unmap",
      cache: request.cache,
    });
    const progress = await startProgress({
      wanted: args.has("progress"),
      quiet,
      stepPercent: 1,
      barByDefault: context.program === "qcow2",
      stdout: context.stdout,
    });
    let succeeded = false;
    try {
      await commit(request, { overlay, depth, context, progress, signal });
      succeeded = true;
    } finally {
      progress.end({ succeeded });
      await overlay.close();
    }
  });
  if (!quiet) await context.out.print("Image committed.\n");
  return 0;
}

/** How many layers below the image the one to write into is. Without -b it is the next one, as in qemu-img. */
async function depthOfBase({ name, base }: Request): Promise<number | undefined> {
  if (base === undefined) return 1;
  await using disk = await openImage(name);
  return await depthOfBackingFile(disk, base);
}

interface Job {
  readonly overlay: WritableDisk;
  readonly depth: number | undefined;
  readonly context: CommandContext;
  readonly progress: Progress;
  readonly signal: AbortSignal;
}

async function commit(request: Request, { overlay, depth, context, progress, signal }: Job): Promise<void> {
  // Looked for anew in the chain that is held now: it may have become another one since.
  const found = request.base === undefined ? depth : await depthOfBackingFile(overlay, request.base);
  if (depth === undefined || found !== depth) {
    throw new CommandError(`Did not find '${request.base}' in the backing chain of '${request.name.given}'`);
  }
  const base = layerAt(overlay, depth);
  if (!(overlay instanceof Qcow2Image) || base === undefined) {
    throw new CommandError("Image does not have a backing file");
  }
  const others = request.force
    ? []
    : [describeSnapshotsAbove(overlay, depth), await describeDependentImages(layerPaths(overlay), depth)];
  for (const dependents of others) {
    if (dependents === undefined) continue;
    if (context.program === "qcow2") {
      throw new CommandError(`${dependents}; nothing was done (--force commits all the same)`);
    }
    context.warn(`warning: ${dependents}`);
  }
  await commitDisk({
    overlay,
    base,
    depth,
    rateLimitBytesPerSecond: request.rateLimit === 0 ? undefined : request.rateLimit,
    onProgress: (done, total) => progress.report(done, total),
    isWatched: () => progress.isWatched,
    signal,
    primitives: bufferPrimitives,
  });
  assertUnchanged([overlay], {
    program: context.program,
    onWarning: (message) => context.warn(`warning: ${message}`),
  });
  if (request.empties) await overlay.makeEmpty({ signal });
}

function layerAt(overlay: Disk, depth: number): WritableDisk | undefined {
  let layer: Disk | undefined = overlay;
  for (let left = depth; left > 0; left--) layer = layer instanceof Qcow2Image ? layer.backing : undefined;
  return layer instanceof Qcow2Image || layer instanceof RawDisk ? layer : undefined;
}
