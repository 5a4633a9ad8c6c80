/**
 * The options of QEMU's nodes as a tree: `file.`, `backing.` and `data-file.` lead to the nodes below. Values keep the
 * type that JSON gave them, because `info` prints them again.
 */
import { CommandError } from "../errors/command-errors.ts";

export type NodeScalar = string | number | boolean;

export interface NodeValue {
  /** With dots: `backing.file.filename`. */
  readonly name: string;
  /** null stands for no node at all. */
  readonly value: NodeScalar | null;
}

const CHILD_NAMES = ["file", "backing", "data-file"] as const;
export type ChildName = (typeof CHILD_NAMES)[number];

export interface NodeTree {
  readonly options: ReadonlyMap<string, NodeScalar>;
  /** null where there is to be none; text where a node is named, and not described. */
  readonly children: ReadonlyMap<ChildName, NodeTree | string | null>;
}

/** Of repeated options the last counts. @throws CommandError for null where there is no node to leave out */
export function nodeTree(values: readonly NodeValue[]): NodeTree {
  const options = new Map<string, NodeScalar>();
  const children = new Map<ChildName, NodeTree | string | null>();
  const below = new Map<ChildName, NodeValue[]>();
  for (const { name, value } of values) {
    const child = CHILD_NAMES.find((candidate) => name === candidate || name.startsWith(`${candidate}.`));
    if (child === undefined) {
      if (value === null) throw new CommandError(`The value of '${name}' is not supported`);
      options.set(name, value);
    } else if (name !== child) {
      below.set(child, [...(below.get(child) ?? []), { name: name.slice(child.length + 1), value }]);
    } else {
      children.set(child, value === null || (child === "backing" && value === "") ? null : String(value));
    }
  }
  for (const [child, list] of below) children.set(child, nodeTree(list));
  return { options, children };
}

/** The options of a tree with their full names, in the order in which they were given. */
export function fullNames({ options, children }: NodeTree): string[] {
  const names = [...options.keys()];
  for (const [child, tree] of children) {
    if (tree === null || typeof tree === "string") names.push(child);
    else names.push(...fullNames(tree).map((name) => `${child}.${name}`));
  }
  return names;
}

/** The order in which QEMU prints the options that make a difference. */
const PRINTED: readonly string[] = ["offset", "driver", "size", "filename"];

/**
 * What QEMU calls an image: the name of its file where that says it all, or else `json:{...}`. `driver` is that of the
 * node if its options do not tell.
 */
export function nodeFilename(tree: NodeTree, driver: string): string {
  const file = tree.children.get("file");
  if (file === undefined || file === null || typeof file === "string") {
    return String(tree.options.get("filename") ?? "");
  }
  const isPlain = !file.children.has("file") && !tree.options.has("offset") && !tree.options.has("size");
  return isPlain ? nodeFilename(file, "file") : `json:${nodeJson(tree, driver)}`;
}

function nodeJson({ options, children }: NodeTree, driver: string): string {
  const members = PRINTED.flatMap((name) => {
    const value = name === "driver" ? driver : options.get(name);
    return value === undefined ? [] : [`"${name}": ${JSON.stringify(value)}`];
  });
  const file = children.get("file");
  if (file !== undefined && file !== null && typeof file !== "string") {
    members.push(`"file": ${nodeJson(file, driverOf(file))}`);
  }
  return `{${members.join(", ")}}`;
}

/** What the options say, or else what a node that names a file is. */
export function driverOf({ options, children }: NodeTree): string {
  return String(options.get("driver") ?? (children.has("file") ? "raw" : "file"));
}
