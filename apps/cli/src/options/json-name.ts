import { CommandError } from "../errors/command-errors.ts";
import type { NodeScalar, NodeValue } from "./node-tree.ts";

const PREFIX = "json:";
const LONE_SURROGATE = /\p{Surrogate}/u;

export function isJsonName(name: string): boolean {
  return name.startsWith(PREFIX);
}

/** The members of `json:{...}`, nested ones with dots: `file.filename`. @throws CommandError */
export function parseJsonName(name: string): NodeValue[] {
  let value: unknown;
  try {
    // Neither bytes that are no UTF-8 nor halves of characters are JSON to QEMU, and none may become the other.
    value = JSON.parse(doubleQuoted(name.slice(PREFIX.length)), (key, member: unknown) => {
      const texts = typeof member === "string" ? [key, member] : [key];
      if (texts.some((text) => LONE_SURROGATE.test(text))) throw new SyntaxError("not valid Unicode");
      return member;
    });
  } catch (cause) {
    throw new CommandError(`Could not open '${name}': Could not parse the JSON options`, { cause });
  }
  if (!isObject(value)) {
    throw new CommandError(`Could not open '${name}': Invalid JSON object given`);
  }
  return flatten(name, value, "");
}

function flatten(name: string, object: object, prefix: string): NodeValue[] {
  return Object.entries(object).flatMap(([key, value]: [string, unknown]) => {
    const path = prefix + key;
    if (isObject(value)) return flatten(name, value, `${path}.`);
    if (value === null || isScalar(value)) return [{ name: path, value }];
    throw new CommandError(`Could not open '${name}': The value of '${path}' is not supported`);
  });
}

function isScalar(value: unknown): value is NodeScalar {
  return ["string", "number", "boolean"].includes(typeof value);
}

function isObject(value: unknown): value is object {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** QEMU's JSON also knows strings in single quotes. */
function doubleQuoted(json: string): string {
  return json.replace(/"(?:[^"\\]|\\.)*"|'((?:[^'\\]|\\.)*)'/g, (whole, single: string | undefined) => {
    if (single === undefined) return whole;
    return `"${single.replace(/\\'/g, "'").replace(/(?<!\\)"/g, '\\"')}"`;
  });
}
