import { isQcow2Error, type WritableDisk } from "@qcow2/core";
import { type CacheMode, leavesNoCache, nodeCodecs, writesThrough } from "@qcow2/node";
import type { Command, CommandContext } from "../command.ts";
import { openImage } from "../disks/open-image.ts";
import { type Requests, runRequests } from "../disks/run-requests.ts";
import { CommandError } from "../errors/command-errors.ts";
import { couldNotOpen, withPrefix } from "../errors/describe-error.ts";
import { errnoText } from "../errors/errno-text.ts";
import { interruptible } from "../interrupt.ts";
import { cacheModeOf } from "../options/enumerations.ts";
import type { OptionSpec, ParsedArguments } from "../options/getopt.ts";
import { assertNotShared, parseImageName } from "../options/image-name.ts";
import { parseSize } from "../options/size.ts";
import { formatFixed } from "../output/decimal.ts";
import {
  CACHE_HELP,
  FORCE_SHARE,
  FORMAT,
  IMAGE_OPTS,
  NOTES_ON_CACHE,
  nameOptions,
  OBJECT,
  onlyImage,
  QUIET,
} from "./common-options.ts";

const OPTIONS: Readonly<
  Record<
    | "quiet"
    | "format"
    | "imageOpts"
    | "cache"
    | "count"
    | "bufferSize"
    | "depth"
    | "offset"
    | "stepSize"
    | "aio"
    | "native"
    | "write"
    | "pattern"
    | "flushInterval"
    | "noDrain"
    | "forceShare"
    | "object",
    OptionSpec
  >
> = {
  quiet: { ...QUIET, help: "accepted for scripts: the result is printed all the same" },
  format: FORMAT,
  imageOpts: IMAGE_OPTS,
  cache: {
    short: "t",
    long: "cache",
    value: "MODE",
    help: CACHE_HELP,
  },
  count: { short: "c", long: "count", value: "N", help: "number of requests; default 75000" },
  bufferSize: { short: "s", long: "buffer-size", value: "SIZE", help: "bytes of a request; default 4096" },
  depth: { short: "d", long: "depth", value: "N", help: "requests at the same time; default 64" },
  offset: { short: "o", long: "offset", value: "OFFSET", help: "where the first request begins; default 0" },
  stepSize: {
    short: "S",
    long: "step-size",
    value: "SIZE",
    help: "from one request to the next; default: the bytes of a request",
  },
  aio: { short: "i", long: "aio", value: "AIO", help: "accepted for scripts: threads, native, io_uring" },
  native: { short: "n", long: "native", help: "accepted for scripts" },
  write: { short: "w", long: "write", help: "write, which destroys the content; default: read" },
  pattern: { long: "pattern", value: "BYTE", help: "with -w: the byte to write; default 0" },
  flushInterval: { long: "flush-interval", value: "N", help: "with -w: flush after every N requests" },
  noDrain: { long: "no-drain", help: "do not wait for requests that are under way before a flush" },
  forceShare: FORCE_SHARE,
  object: OBJECT,
};

const AIO_MODES: readonly string[] = ["threads", "native", "io_uring"];
const MAX_INT = 2n ** 31n - 1n;
const MAX_LONG = 2n ** 63n - 1n;

export const benchCommand: Command<typeof OPTIONS> = {
  options: OPTIONS,
  help: {
    usage: ["[OPTIONS] FILE"],
    description: `Sends many equal requests to an image, one after the other over the disk, and tells how long they took. With -w the
requests write, and the disk's content is lost where they do.`,
    notes: NOTES_ON_CACHE,
    examples: [
      "disk.qcow2",
      "-c 10000 -s 64k -d 16 disk.qcow2",
      "-w --pattern 7 --flush-interval 100 scratch.qcow2",
    ],
    exitCodes: [
      [0, "all requests succeeded"],
      [1, "one failed, or the command line is wrong"],
    ],
  },
  run: runBench,
};

async function runBench(args: ParsedArguments<typeof OPTIONS>, context: CommandContext): Promise<number> {
  const cache = parseCache(args.value("cache"));
  const requests = { ...parseRequests(args), flushesEach: cache !== undefined && writesThrough(cache) };
  const name = parseImageName(onlyImage(args), nameOptions(args));
  const writes = requests.pattern !== undefined;
  if (writes) assertNotShared(name);
  const wantsNative = args.has("native") || args.value("aio") === "native";
  if (wantsNative && !(cache !== undefined && leavesNoCache(cache))) {
    throw couldNotOpen(
      name.given,
      new CommandError("aio=native was specified, but it requires cache.direct=on, which was not specified."),
    );
  }
  await interruptible(async (signal) => {
    await using codecs = nodeCodecs();
    // Read-only, it is only read: nothing of the other half of the interface is called.
    await using disk = (await openImage(name, {
      readOnly: !writes,
      codecs,
      cache,
      allowWriters: true,
    })) as WritableDisk;
    const { count, length, depth, offset, step } = requests;
    await context.out.print(
      `Sending ${count} ${writes ? "write" : "read"} requests, ${length} bytes each, ${depth} in parallel ` +
        `(starting at offset ${offset}, step size ${step})\n`,
    );
    if (requests.flushInterval > 0) {
      await context.out.print(`Sending flush every ${requests.flushInterval} requests\n`);
    }
    await context.out.flush();
    const start = performance.now();
    try {
      await runRequests(disk, { ...requests, signal });
    } catch (error) {
      if (error === signal.reason) throw error;
      throw withPrefix("Failed request: ", isBehindEnd(error) ? new CommandError(errnoText("EIO")) : error);
    }
    const seconds = (performance.now() - start) / 1000;
    await context.out.print(`Run completed in ${formatFixed(seconds, 3)} seconds.\n`);
  });
  return 0;
}

function parseCache(name: string | undefined): CacheMode | undefined {
  const mode = name === undefined ? undefined : cacheModeOf(name);
  if (name !== undefined && mode === undefined) throw new CommandError("Invalid cache mode");
  return mode;
}

/** Requests that begin behind the disk's end fail as an image does that cannot be read. */
function isBehindEnd(error: unknown): boolean {
  return isQcow2Error(error, "out-of-range");
}

/** @throws CommandError in qemu-img's words */
function parseRequests(args: ParsedArguments<typeof OPTIONS>): Omit<Requests, "signal" | "flushesEach"> {
  const number = (
    option: keyof typeof OPTIONS,
    name: string,
    range: readonly [bigint, bigint],
  ): number | undefined => {
    const text = args.value(option);
    if (text === undefined) return undefined;
    const size = parseSize(text);
    if (size === "invalid") throw new CommandError(`Invalid ${name} specified: '${text}'.`);
    if (size === "out-of-range" || size < range[0] || size > range[1]) {
      throw new CommandError(`Invalid ${name} specified. Must be between ${range[0]} and ${range[1]}.`);
    }
    return Number(size);
  };
  const aio = args.value("aio");
  if (aio !== undefined && !AIO_MODES.includes(aio)) throw new CommandError(`Invalid aio option: ${aio}`);
  const count = number("count", "request count", [1n, MAX_INT]) ?? 75_000;
  const depth = number("depth", "queue depth", [1n, MAX_INT]) ?? 64;
  const offset = number("offset", "offset", [0n, MAX_LONG]) ?? 0;
  const length = number("bufferSize", "buffer size", [1n, MAX_INT]) ?? 4096;
  const step = number("stepSize", "step size", [0n, MAX_INT]) ?? 0;
  const pattern = number("pattern", "pattern byte", [0n, 255n]) ?? 0;
  const flushInterval = number("flushInterval", "flush interval", [0n, MAX_INT]) ?? 0;
  const writes = args.has("write");
  if (!writes && flushInterval > 0) {
    throw new CommandError("--flush-interval is only available in write tests");
  }
  if (flushInterval > 0 && flushInterval < depth) {
    throw new CommandError("Flush interval can't be smaller than depth");
  }
  return {
    count,
    depth,
    offset,
    length,
    step: step === 0 ? length : step,
    pattern: writes ? pattern : undefined,
    flushInterval,
    drain: !args.has("noDrain"),
  };
}
