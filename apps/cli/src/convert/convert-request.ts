/** Reads a `convert` command line. Everything that can be judged without opening an image is judged here. */

import type { CacheMode } from "@qcow2/node";
import { CommandError } from "../errors/command-errors.ts";
import { parseCompressionLevel } from "../options/compression-level.ts";
import { CreationOptions } from "../options/creation-options.ts";
import { parseCacheMode } from "../options/enumerations.ts";
import type { ParsedArguments } from "../options/getopt.ts";
import { type ImageName, parseImageName, plainPath } from "../options/image-name.ts";
import { joinOptionLists } from "../options/option-list.ts";
import { requireSize } from "../options/size.ts";
import { parseSnapshotSelector, type SnapshotSelector } from "../options/snapshot-selector.ts";
import type { ConvertOptionTable } from "./convert-options.ts";

export interface ConvertRequest {
  readonly sources: readonly ImageName[];
  readonly snapshot: SnapshotSelector | undefined;
  readonly target: NewTarget | ExistingTarget;
  readonly sourceCache: CacheMode | undefined;
  readonly targetCache: CacheMode | undefined;
  readonly compress: boolean;
  /** Of the compression; undefined for the library's own. */
  readonly level: number | undefined;
  /** Bytes; 0 writes everything. */
  readonly sparseBytes: number | undefined;
  readonly parallel: number | undefined;
  readonly outOfOrder: boolean;
  readonly rateLimitBytesPerSecond: number | undefined;
  readonly salvage: boolean;
  readonly copyOffload: boolean;
  /** Copy persistent bitmaps: all of them, or all that can be used. */
  readonly bitmaps: "none" | "all" | "usable";
  readonly quiet: boolean;
  readonly progress: boolean;
}

/** An image that is made, and replaces what has its name. */
export interface NewTarget {
  readonly kind: "new";
  readonly given: string;
  readonly path: string;
  /** Without the size, which the sources determine. */
  readonly options: CreationOptions;
}

/** An image that is there and is written in place (-n). */
export interface ExistingTarget {
  readonly kind: "existing";
  readonly given: string;
  readonly name: ImageName;
  readonly isZero: boolean;
  /** It has a backing file that holds what the sources' first layer does not. */
  readonly hasBacking: boolean;
}

type Arguments = ParsedArguments<ConvertOptionTable>;

/** @throws CommandError for what cannot be, or cannot be understood */
export function parseConvertRequest(args: Arguments): ConvertRequest {
  checkCombinations(args);
  const sparseBytes = parseSparseSize(args.value("sparseSize"));
  const parallel = parseParallel(args.value("parallel"));
  const rate = args.value("rateLimit");
  const rateLimit = rate === undefined ? 0 : requireSize("rate limit", rate);
  const snapshot = args.value("snapshot");
  const sourceNames = args.operands.slice(0, -1);
  const targetName = args.operands.at(-1);
  if (targetName === undefined || sourceNames.length === 0) {
    throw new CommandError("Must specify image file name");
  }
  if (snapshot !== undefined && sourceNames.length > 1) {
    throw new CommandError("No support for concatenating multiple snapshot");
  }
  if (args.has("bitmaps") && sourceNames.length > 1) {
    throw new CommandError("Copying bitmaps only possible with single source");
  }
  const sourceCache = parseCacheMode(args.value("sourceCache"), "source cache");
  const targetCache = parseCacheMode(args.value("targetCache"), "cache");
  const request: ConvertRequest = {
    sources: sourceNames.map((name) => parseSource(name, args)),
    snapshot: snapshot === undefined ? undefined : parseSnapshotSelector(snapshot),
    target: args.has("noCreate") ? existingTarget(targetName, args) : newTarget(targetName, args),
    sourceCache,
    targetCache,
    compress: args.has("compress"),
    level: parseCompressionLevel(args.value("level"), args.has("compress")),
    sparseBytes,
    parallel,
    outOfOrder: args.has("outOfOrder"),
    rateLimitBytesPerSecond: rateLimit === 0 ? undefined : rateLimit,
    salvage: args.has("salvage"),
    copyOffload: args.has("copyOffload"),
    bitmaps: !args.has("bitmaps") ? "none" : args.has("skipBrokenBitmaps") ? "usable" : "all",
    quiet: args.has("quiet"),
    progress: args.has("progress"),
  };
  checkBacking(request);
  return request;
}

function checkCombinations(args: Arguments): void {
  const inPlace = args.has("noCreate");
  if (args.has("skipBrokenBitmaps") && !args.has("bitmaps")) {
    throw new CommandError("Use of --skip-broken-bitmaps requires --bitmaps");
  }
  if (args.has("copyOffload")) checkCopyOffload(args);
  if (args.has("targetImageOpts") && !inPlace) {
    throw new CommandError("--target-image-opts requires use of -n flag");
  }
  if (args.has("options") && inPlace) throw new CommandError("-o has no effect when skipping image creation");
  if (args.has("targetIsZero") && !inPlace)
    throw new CommandError("--target-is-zero requires use of -n flag");
  if (args.has("targetIsZero") && args.has("backing")) {
    throw new CommandError("Cannot use --target-is-zero when the destination image has a backing file");
  }
}

/** Copying within the host reads nothing, so that there is nothing to look into. */
function checkCopyOffload(args: Arguments): void {
  if (args.has("compress")) throw new CommandError("Cannot enable copy offloading when -c is used");
  if (args.has("sparseSize")) throw new CommandError("Cannot enable copy offloading when -S is used");
  if (args.has("salvage")) throw new CommandError("Cannot use copy offloading in salvaging mode");
}

function parseSource(name: string, args: Arguments): ImageName {
  return parseImageName(name, {
    format: args.value("format"),
    imageOpts: args.has("imageOpts"),
    forceShare: args.has("forceShare"),
  });
}

function newTarget(given: string, args: Arguments): NewTarget {
  const list = args.has("options") ? joinOptionLists(args.values("options")) : undefined;
  const options = CreationOptions.parse(args.value("targetFormat") ?? "raw", list);
  options.setBacking(args.value("backing"), args.value("backingFormat"));
  return { kind: "new", given, path: plainPath(given), options };
}

function existingTarget(given: string, args: Arguments): ExistingTarget {
  const imageOpts = args.has("targetImageOpts");
  const format = args.value("targetFormat") ?? (imageOpts ? undefined : "raw");
  return {
    kind: "existing",
    given,
    name: parseImageName(given, { format, imageOpts }),
    isZero: args.has("targetIsZero"),
    hasBacking: args.has("backing"),
  };
}

function checkBacking({ sources, target, compress }: ConvertRequest): void {
  if (target.kind === "existing") return;
  const { options } = target;
  if (options.has("backing_file")) {
    if (sources.length > 1) {
      throw new CommandError(
        "Having a backing file for the target makes no sense when concatenating multiple input images",
      );
    }
    if (!options.has("backing_fmt")) {
      throw new CommandError("Use of backing file requires explicit backing format");
    }
  }
  if (!compress) return;
  if (options.format === "raw") throw new CommandError("Compression not supported for this file format");
  if ((options.text("preallocation") ?? "off") !== "off") {
    throw new CommandError("Compression and preallocation not supported at the same time");
  }
}

const SECTOR_BYTES = 512;
const MAX_SPARSE_BYTES = 16 * 2 ** 20;

function parseSparseSize(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const bytes = requireSize("buffer size for sparse output", text);
  if (bytes % SECTOR_BYTES !== 0 || bytes > MAX_SPARSE_BYTES) {
    throw new CommandError(
      "Invalid buffer size for sparse output specified. Valid sizes are multiples of " +
        `${SECTOR_BYTES} up to ${MAX_SPARSE_BYTES}. Select 0 to disable sparse detection (fully allocates output).`,
    );
  }
  return bytes;
}

const MAX_PARALLEL = 16;

function parseParallel(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const count = /^\s*\+?(0[xX][0-9a-fA-F]+|\d+)$/.test(text) ? Number(text) : Number.NaN;
  if (!(count >= 1 && count <= MAX_PARALLEL)) {
    throw new CommandError(`Invalid number of coroutines specified. Must be between 1 and ${MAX_PARALLEL}.`);
  }
  return count;
}
