/**
 * Names of images as they are given on the command line: a path, `file:PATH`, `json:{...}`, or with --image-opts
 * `driver=qcow2,file.filename=PATH`. They are interpreted here and nowhere else: a name that comes out of an image
 * is never seen by this code.
 */
import type { OverlapCheck } from "@qcow2/core";
import type { BackingOverride, CacheMode, FileRange } from "@qcow2/node";
import { CommandError } from "../errors/command-errors.ts";
import { couldNotOpen } from "../errors/describe-error.ts";
import { isJsonName, parseJsonName } from "./json-name.ts";
import { type NodeImage, nodeImage } from "./node-image.ts";
import { type NodeTree, type NodeValue, nodeTree } from "./node-tree.ts";
import { parseOptionList } from "./option-list.ts";

/** Where an image is and how to read it. */
export interface ImageName {
  /** As the user wrote it; what messages call it. */
  readonly given: string;
  /** A path of the host. */
  readonly path: string;
  /** "qcow2", "raw", ...; undefined if the content is to tell. */
  readonly format: string | undefined;
  /** Put up with others that write to it; only for reading. */
  readonly forceShare: boolean;
  /** What `read-only` among its options says. */
  readonly readOnly?: boolean | undefined;
  /** What `discard` among its options says. */
  readonly discard?: string | undefined;
  readonly range?: FileRange | undefined;
  /** False: take no locks and respect none. Default true. */
  readonly locking?: boolean | undefined;
  /** What its options say of the host's cache. */
  readonly cache?: CacheMode | undefined;
  readonly overlapCheck?: OverlapCheck | undefined;
  /** What is read instead of the backing file that the image names. */
  readonly backing?: BackingOverride | "none" | undefined;
  readonly dataFile?: string | undefined;
  /** What its options say that it is encrypted with. */
  readonly encryption?: string | undefined;
  /** The options themselves, if it was told by options. */
  readonly node?: NodeTree | undefined;
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
    return parseNodeName({ given, values: imageOptions(given), forceShare });
  }
  if (isJsonName(given)) {
    return parseNodeName({ given, values: parseJsonName(given), format, forceShare });
  }
  return { given, path: plainPath(given), format, forceShare };
}

/** What stands first without a value names a node. */
function imageOptions(list: string): NodeValue[] {
  const [first, ...rest] = parseOptionList(list);
  const isNode = first !== undefined && /^[^=,]+(,|$)/.test(list);
  return isNode ? [{ name: "file", value: /^[^=,]+/.exec(list)![0] }, ...rest] : parseOptionList(list);
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
  if (name.startsWith("file:")) {
    const path = name.slice("file:".length);
    // In front of what would read as another protocol, as QEMU calls such a file from then on.
    return protocolOf(path) === undefined ? path : `./${path}`;
  }
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

export interface NodeName {
  /** What messages call the image. */
  readonly given: string;
  readonly values: readonly NodeValue[];
  /** The file, if the options need not name it. */
  readonly path?: string | undefined;
  /** Whatever the options say. */
  readonly format?: string | undefined;
  readonly forceShare: boolean;
}

/** An image that is told by the options of QEMU's nodes. @throws CommandError as {@link parseImageName} */
export function parseNodeName({ given, values, path, format, forceShare }: NodeName): ImageName {
  if (path !== undefined && values.some(({ name }) => name === "file.filename")) {
    throw couldNotOpen(given, new CommandError("A file name and 'file.filename' cannot be given together"));
  }
  let node: NodeTree;
  let image: NodeImage;
  try {
    node = nodeTree(path === undefined ? values : [...values, { name: "file.filename", value: path }]);
    image = nodeImage(node, format);
  } catch (error) {
    throw couldNotOpen(given, error);
  }
  if (forceShare && image.forceShare === false) {
    throw new CommandError("--force-share/-U conflicts with image options");
  }
  return { ...image, given, node, forceShare: forceShare || image.forceShare === true };
}
