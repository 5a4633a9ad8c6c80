/**
 * Names of images as they are given on the command line: a path, `file:PATH`, `json:{...}`, or with --image-opts
 * `driver=qcow2,file.filename=PATH`. They are interpreted here and nowhere else: a name that comes out of an image
 * is never seen by this code.
 */
import { CommandError } from "../errors/command-errors.ts";
import { parseJsonName } from "./json-name.ts";
import { type NamedValue, parseOptionList } from "./option-list.ts";

/** Where an image is and how to read it. */
export interface ImageName {
  /** As the user wrote it; what messages call it. */
  readonly given: string;
  /** A path of the host. */
  readonly path: string;
  /** "qcow2", "raw", ...; undefined if the content is to tell. */
  readonly format: string | undefined;
  /** Take no locks and respect none. */
  readonly forceShare: boolean;
  /** What `read-only` among its options says. */
  readonly readOnly?: boolean | undefined;
  /** What `discard` among its options says. */
  readonly discard?: string | undefined;
}

export interface ImageNameOptions {
  /** -f */
  readonly format?: string | undefined;
  /** --image-opts */
  readonly imageOpts?: boolean | undefined;
  /** -U */
  readonly forceShare?: boolean | undefined;
}

/** @throws CommandError if the name is not understood, naming the part that is not. */
export function parseImageName(given: string, options: ImageNameOptions = {}): ImageName {
  const { format, imageOpts = false, forceShare = false } = options;
  if (imageOpts) {
    if (format !== undefined) throw new CommandError("--image-opts and --format are mutually exclusive");
    return parseNodeName({ given, values: parseOptionList(given), forceShare });
  }
  if (given.startsWith("json:")) {
    return parseNodeName({ given, values: parseJsonName(given), format, forceShare });
  }
  return { given, path: plainPath(given), format, forceShare };
}

/** @throws CommandError for what is to be written and cannot be shared with other writers */
export function assertNotShared({ given, forceShare }: ImageName): void {
  if (!forceShare) return;
  throw new CommandError(`Could not open '${given}': force-share=on can only be used with read-only images`);
}

/**
 * The path of a name without options. `file:` in front is dropped; other protocols are refused.
 * @throws CommandError
 */
export function plainPath(name: string): string {
  if (name.startsWith("file:")) return name.slice("file:".length);
  const protocol = protocolOf(name);
  if (protocol === undefined) return name;
  throw new CommandError(
    `Could not open '${name}': Unknown protocol '${protocol}' (for a file of that name write './${name}')`,
  );
}

/** What stands before the first colon, if that comes before any slash; a Windows drive letter is no protocol. */
function protocolOf(name: string): string | undefined {
  if (process.platform === "win32" && /^[a-z]:/i.test(name)) return undefined;
  return /^([^/\\:]*):/.exec(name)?.[1];
}

/** Options of QEMU's nodes that change neither what is read nor what is written, only speed and bookkeeping. */
const WITHOUT_EFFECT: readonly RegExp[] = [
  /^(file\.)?(node-name|detect-zeroes|auto-read-only)$/,
  /^file\.(discard|read-only)$/,
  /^(file\.)?cache\.(direct|no-flush)$/,
  /^file\.(aio|drop-cache|x-check-cache-dropped|pr-manager)$/,
  /^(cache-size|l2-cache-size|l2-cache-entry-size|refcount-cache-size|cache-clean-interval|lazy-refcounts)$/,
  /^(pass-discard-(request|snapshot|other)|discard-no-unref|overlap-check(\..+)?)$/,
];

const FORMATS_WITH_FILE: readonly string[] = ["qcow2", "raw"];
const FILE_DRIVERS: readonly string[] = ["file", "host_device"];

export interface NodeName {
  /** What messages call the image. */
  readonly given: string;
  readonly values: readonly NamedValue[];
  /** The file, if the options need not name it. */
  readonly path?: string | undefined;
  /** If the options do not say. */
  readonly format?: string | undefined;
  readonly forceShare: boolean;
}

/** An image that is told by the options of QEMU's nodes. @throws CommandError as {@link parseImageName} */
export function parseNodeName({ given, values, path, format, forceShare }: NodeName): ImageName {
  const refuse = (why: string): CommandError => new CommandError(`Could not open '${given}': ${why}`);
  const node = new Map(values.map(({ name, value }) => [name, value]));
  const take = (name: string): string | undefined => {
    const value = node.get(name);
    node.delete(name);
    return value;
  };
  const driver = take("driver") ?? format;
  if (driver !== undefined && !FORMATS_WITH_FILE.includes(driver)) {
    throw refuse(`Driver '${driver}' is not supported here (use qcow2 or raw, with file.filename=PATH)`);
  }
  const fileDriver = take("file.driver") ?? "file";
  if (!FILE_DRIVERS.includes(fileDriver)) throw refuse(`Driver '${fileDriver}' is not supported for 'file'`);
  if (path !== undefined && node.has("file.filename")) {
    throw refuse("A file name and 'file.filename' cannot be given together");
  }
  const filename = path ?? take("file.filename");
  if (filename === undefined) throw refuse("A 'file.filename' is required");
  const sharing = [take("force-share"), take("file.force-share")];
  if (forceShare && sharing.some((value) => value !== undefined && !isOn(value))) {
    throw new CommandError("--force-share/-U conflicts with image options");
  }
  const readOnly = take("read-only");
  const discard = take("discard");
  const unlocked = take("file.locking") === "off";
  for (const name of node.keys()) {
    if (!isOptionWithoutEffect(name)) throw refuse(`The option '${name}' is not supported`);
  }
  return {
    given,
    path: filename,
    format: driver,
    forceShare: forceShare || unlocked || sharing.some(isOn),
    readOnly: readOnly === undefined ? undefined : isOn(readOnly),
    discard,
  };
}

/** True for what may be given and changes nothing here. */
export function isOptionWithoutEffect(name: string): boolean {
  return WITHOUT_EFFECT.some((pattern) => pattern.test(name));
}

function isOn(value: string | undefined): boolean {
  return value === "on" || value === "true" || value === "yes" || value === "y";
}
