/** What a tree of node options says of an image: where it is, and how it is to be opened. */
import type { OverlapCheck } from "@qcow2/core";
import type { BackingOverride, CacheMode, FileRange } from "@qcow2/node";
import { CommandError } from "../errors/command-errors.ts";
import { parseSwitch } from "./enumerations.ts";
import { assertDriver, checkNodeOptions, FILE_DRIVERS, textOf } from "./node-options.ts";
import { type ChildName, driverOf, type NodeTree } from "./node-tree.ts";
import { requireParameterSize } from "./size.ts";

export interface NodeImage {
  readonly path: string;
  readonly format: string | undefined;
  readonly range: FileRange | undefined;
  readonly locking: boolean;
  readonly cache: CacheMode | undefined;
  readonly readOnly: boolean | undefined;
  readonly discard: string | undefined;
  /** What `force-share` says, wherever it is said. */
  readonly forceShare: boolean | undefined;
  readonly overlapCheck: OverlapCheck | undefined;
  readonly backing: BackingOverride | "none" | undefined;
  readonly dataFile: string | undefined;
  /** What `encrypt.format` or `encrypt.key-secret` say it is encrypted with. */
  readonly encryption: string | undefined;
}

/**
 * `format` is that of the node, whatever its options say.
 * @throws CommandError in qemu-img's words, without the image's name
 */
export function nodeImage(tree: NodeTree, format: string | undefined): NodeImage {
  const driver = format ?? optionOf(tree, "driver");
  if (driver !== undefined) assertDriver(driver);
  if (driver !== undefined && FILE_DRIVERS.includes(driver)) {
    return { ...ofNode(tree), ...fileNode(tree), format: driver, backing: undefined, dataFile: undefined };
  }
  checkNodeOptions(tree, driver);
  const file = fileNode(childOf(tree, "file"));
  const ranges = [rangeOf(tree, driver), file.range];
  const backing = tree.children.get("backing");
  const dataFile = tree.children.get("data-file");
  if ((backing !== undefined || dataFile !== undefined) && driver === "raw") {
    const name = backing === undefined ? "data-file" : "backing";
    throw new CommandError(`Block format 'raw' does not support the option '${name}'`);
  }
  const own = ofNode(tree);
  return {
    ...own,
    ...file,
    format: driver,
    range: within(ranges),
    readOnly: own.readOnly ?? file.readOnly,
    forceShare: own.forceShare ?? file.forceShare,
    cache: own.cache ?? file.cache,
    backing: backing === null ? "none" : backing === undefined ? undefined : backingNode(backing),
    dataFile: dataFile === undefined ? undefined : fileNode(required(dataFile, "data-file")).path,
  };
}

type FileNode = Pick<NodeImage, "path" | "range" | "locking" | "cache" | "readOnly" | "forceShare">;

/** A node that holds bytes: a file, or a raw node over one. */
function fileNode(tree: NodeTree): FileNode {
  const driver = driverOf(tree);
  assertDriver(driver);
  checkNodeOptions(tree, driver);
  const { cache, readOnly, forceShare } = ofNode(tree);
  if (driver === "raw") {
    const below = fileNode(childOf(tree, "file"));
    return {
      ...below,
      range: within([rangeOf(tree, driver), below.range]),
      cache: cache ?? below.cache,
      readOnly: readOnly ?? below.readOnly,
      forceShare: forceShare ?? below.forceShare,
    };
  }
  if (!FILE_DRIVERS.includes(driver)) {
    throw new CommandError(`An image in the format '${driver}' within another is not supported`);
  }
  const filename = tree.options.get("filename");
  if (typeof filename !== "string") {
    throw new CommandError(`The '${driver}' block driver requires a file name`);
  }
  const locking = optionOf(tree, "locking") !== "off";
  return { path: filename, range: undefined, locking, cache, readOnly, forceShare };
}

function backingNode(child: NodeTree | string): BackingOverride {
  const tree = required(child, "backing");
  if (tree.children.has("file")) {
    const { path, format, range, locking, backing, dataFile } = nodeImage(tree, undefined);
    return { path, format, range, locking, backing, dataFile };
  }
  const driver = optionOf(tree, "driver");
  if (driver !== undefined) assertDriver(driver);
  checkNodeOptions(tree, driver);
  const below = tree.children.get("backing");
  return {
    format: driver,
    backing: below === null ? "none" : below === undefined ? undefined : backingNode(below),
  };
}

/** What options of the node itself say, whatever it is. */
function ofNode(
  tree: NodeTree,
): Omit<NodeImage, "path" | "format" | "range" | "locking" | "backing" | "dataFile"> {
  const isOn = (name: string): boolean | undefined => {
    const text = optionOf(tree, name);
    return text === undefined ? undefined : parseSwitch(name, text);
  };
  return {
    cache: cacheOf({ direct: isOn("cache.direct"), noFlush: isOn("cache.no-flush") }),
    readOnly: isOn("read-only"),
    discard: optionOf(tree, "discard"),
    forceShare: isOn("force-share"),
    overlapCheck: overlapCheckOf(tree),
    encryption: tree.options.has("encrypt.key-secret")
      ? (optionOf(tree, "encrypt.format") ?? "luks")
      : optionOf(tree, "encrypt.format"),
  };
}

function cacheOf({
  direct,
  noFlush,
}: {
  readonly direct: boolean | undefined;
  readonly noFlush: boolean | undefined;
}): CacheMode | undefined {
  if (noFlush === true) return "unsafe";
  return direct === true ? "none" : undefined;
}

function overlapCheckOf(tree: NodeTree): OverlapCheck | undefined {
  const check: Record<string, string | boolean> = {};
  for (const [name, value] of tree.options) {
    const [option, kind] = name.split(".");
    if (option !== "overlap-check") continue;
    if (kind === undefined || kind === "template") check.template = textOf(value);
    else check[kind] = parseSwitch(name, textOf(value));
  }
  return Object.keys(check).length === 0 ? undefined : (check as OverlapCheck);
}

const SECTOR_BYTES = 512;

function rangeOf(tree: NodeTree, driver: string | undefined): FileRange | undefined {
  if (driver !== "raw") return undefined;
  const [offset, size] = ["offset", "size"].map((name) => {
    const text = optionOf(tree, name);
    return text === undefined ? undefined : requireParameterSize(name, text);
  });
  if (size !== undefined && size % SECTOR_BYTES !== 0) {
    throw new CommandError("Specified size is not multiple of 512");
  }
  return offset === undefined && size === undefined ? undefined : { offset: offset ?? 0, length: size };
}

/** A part of a part, the inner one first. */
function within([inner, outer]: readonly (FileRange | undefined)[]): FileRange | undefined {
  if (inner === undefined || outer === undefined) return inner ?? outer;
  const left = outer.length === undefined ? undefined : outer.length - inner.offset;
  if (left !== undefined && left < (inner.length ?? 0)) {
    throw new CommandError(
      `The sum of offset (${inner.offset}) and size (${inner.length ?? 0}) has to be smaller or equal to the  actual size of the containing file (${outer.length})`,
    );
  }
  return { offset: outer.offset + inner.offset, length: inner.length ?? left };
}

function childOf(tree: NodeTree, name: ChildName): NodeTree {
  return required(tree.children.get(name), name);
}

function required(child: NodeTree | string | null | undefined, name: ChildName): NodeTree {
  if (child === undefined || child === null) {
    throw new CommandError(`A block device must be specified for "${name}"`);
  }
  if (typeof child === "string") {
    throw new CommandError(`Cannot find device='${child}' nor node-name='${child}'`);
  }
  return child;
}

function optionOf({ options }: NodeTree, name: string): string | undefined {
  const value = options.get(name);
  return value === undefined ? undefined : textOf(value);
}
