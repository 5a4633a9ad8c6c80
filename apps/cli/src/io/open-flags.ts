/** How an image is opened: options that the command line and the command `open` have in common. */
import type { CacheMode } from "@qcow2/node";
import { cacheModeOf } from "../options/enumerations.ts";
import type { OptionSpec, ParsedArguments } from "../options/getopt.ts";
import { Refusal } from "./refusal.ts";

export const OPEN_OPTIONS: Readonly<
  Record<
    | "readOnly"
    | "snapshot"
    | "noCache"
    | "copyOnRead"
    | "nativeAio"
    | "aio"
    | "cache"
    | "discard"
    | "forceShare",
    OptionSpec
  >
> = {
  readOnly: { short: "r", long: "read-only", help: "open the image for reading only" },
  snapshot: {
    short: "s",
    long: "snapshot",
    help: "write to a temporary overlay: the image stays as it is",
  },
  noCache: { short: "n", long: "nocache", help: "as -t none" },
  copyOnRead: {
    short: "C",
    long: "copy-on-read",
    help: "write into the image what is read from its backing file",
  },
  nativeAio: {
    short: "k",
    long: "native-aio",
    help: "accepted for scripts; only with -t none or directsync",
  },
  aio: { short: "i", long: "aio", value: "AIO", help: "accepted for scripts: threads, native, io_uring" },
  cache: {
    short: "t",
    long: "cache",
    value: "MODE",
    help: "writethrough (default), directsync: each write is durable; none, writeback, unsafe: flushes",
  },
  discard: {
    short: "d",
    long: "discard",
    value: "unmap|ignore",
    help: "unmap (default): discards give up space",
  },
  forceShare: {
    short: "U",
    long: "force-share",
    help: "open the image even while another process writes to it; only with -r",
  },
};

export interface OpenFlags {
  readonly readOnly: boolean;
  readonly forceShare: boolean;
  /** Writes go to an overlay that nobody keeps. */
  readonly temporary: boolean;
  readonly copiesOnRead: boolean;
  readonly discards: boolean;
  readonly cache: CacheMode;
  readonly nativeAio: boolean;
}

const DISCARD_MODES: Readonly<Record<string, boolean>> = { unmap: true, on: true, ignore: false, off: false };
const AIO_MODES: readonly string[] = ["threads", "native", "io_uring"];
/** What qemu-io opens images with, unlike qemu-img: what a command says it has written is written. */
const DEFAULT_CACHE: CacheMode = "writethrough";

/** @throws Refusal for a value that there is not */
export function openFlags(args: ParsedArguments<typeof OPEN_OPTIONS>): OpenFlags {
  const aio = args.value("aio");
  if (aio !== undefined && !AIO_MODES.includes(aio)) {
    throw new Refusal(`Invalid aio option: ${aio}`, "named");
  }
  const cacheOptions = args
    .inOrder(["cache", "noCache"])
    .map(({ name, value }) => (name === "cache" ? value : "none"));
  return {
    readOnly: args.has("readOnly"),
    forceShare: args.has("forceShare"),
    temporary: args.has("snapshot"),
    copiesOnRead: args.has("copyOnRead"),
    discards: parseDiscardMode(args.value("discard") ?? "unmap"),
    cache: cacheOptions.map(parseCacheMode).at(-1) ?? DEFAULT_CACHE,
    nativeAio: args.has("nativeAio") || aio === "native",
  };
}

export function parseDiscardMode(mode: string): boolean {
  const discards = DISCARD_MODES[mode];
  if (discards === undefined) throw new Refusal(`Invalid discard option: ${mode}`, "named");
  return discards;
}

export function parseCacheMode(name: string): CacheMode {
  const mode = cacheModeOf(name);
  if (mode === undefined) throw new Refusal(`Invalid cache option: ${name}`, "named");
  return mode;
}
