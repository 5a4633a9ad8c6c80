/** Options that several commands have, so that they are called and explained the same everywhere. */
import { UsageError } from "../errors/command-errors.ts";
import type { OptionSpec, ParsedArguments } from "../options/getopt.ts";
import type { ImageNameOptions } from "../options/image-name.ts";

export const FORMAT: OptionSpec = {
  short: "f",
  long: "format",
  value: "FMT",
  help: "format of the image: qcow2 or raw; found out if not given",
};
export const IMAGE_OPTS: OptionSpec = {
  long: "image-opts",
  help: "FILE is not a name but options: driver=qcow2,file.filename=PATH",
};
export const FORCE_SHARE: OptionSpec = {
  short: "U",
  long: "force-share",
  help: "open the image even while another process writes to it",
};
export const OUTPUT: OptionSpec = {
  long: "output",
  value: "human|json",
  help: "form of the result; default human",
};
export const QUIET: OptionSpec = { short: "q", long: "quiet", help: "print nothing but errors" };
export const PROGRESS: OptionSpec = { short: "p", long: "progress", help: "show progress" };
export const OBJECT: OptionSpec = {
  long: "object",
  value: "DEF",
  help: "define a secret: secret,id=ID,data=TEXT or secret,id=ID,file=FILE[,format=base64]",
};
export const CACHE_HELP = "writeback (default), writethrough, none, directsync or unsafe; see below";

/** What cache modes mean, below the options of a command that has them. */
export const NOTES_ON_CACHE = `Cache modes: writeback flushes where it counts; writethrough makes every write durable at once; none
leaves nothing in the host's cache (on Linux, with koffi); directsync is both; unsafe never flushes, so that
what was written may be gone if the power goes.`;

export const NOTES_ON_NAMES = `FILE is a path, file:PATH, or json:{"driver":"qcow2","file":{"driver":"file","filename":"PATH"}}.
A path with a colon before the first slash is written ./NAME.`;

/** The one operand of `info`, `check` and `map`. */
export function onlyImage(args: Pick<ParsedArguments, "operands">): string {
  const [name, ...rest] = args.operands;
  if (name === undefined || rest.length > 0) throw new UsageError("Expecting one image file name");
  return name;
}

/** How -f, --image-opts and -U tell what a name means. */
export function nameOptions(args: Pick<ParsedArguments, "has" | "value">): ImageNameOptions {
  return {
    format: args.value("format"),
    imageOpts: args.has("imageOpts"),
    forceShare: args.has("forceShare"),
  };
}
