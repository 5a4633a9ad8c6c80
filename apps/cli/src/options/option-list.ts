/**
 * Lists of `name=value` separated by commas, as in `-o` and `--image-opts`. A comma within a value is written
 * twice. A name without a value means `on`, with the prefix `no` it means `off`.
 */
import { CommandError } from "../errors/command-errors.ts";

export interface NamedValue {
  readonly name: string;
  readonly value: string;
}

/** Joins the lists of a repeated `-o`. @throws CommandError if one could change the meaning of its neighbours. */
export function joinOptionLists(lists: readonly string[]): string {
  for (const list of lists) {
    const trailingCommas = /,*$/.exec(list)![0].length;
    if (list === "" || list.startsWith(",") || trailingCommas % 2 === 1) {
      throw new CommandError(`Invalid option list: ${list}`);
    }
  }
  return lists.join(",");
}

/** Splits a list; the order is kept and repeated names are not merged. */
export function parseOptionList(list: string): NamedValue[] {
  const result: NamedValue[] = [];
  for (let at = 0; at < list.length; ) {
    const separator = /[=,]|$/.exec(list.slice(at))!.index + at;
    const name = list.slice(at, separator);
    if (list[separator] !== "=") {
      result.push(flag(name));
      at = separator + 1;
      continue;
    }
    const { value, end } = unescapeValue(list, separator + 1);
    result.push({ name, value });
    at = end + 1;
  }
  return result;
}

/** True if the list asks for help instead of setting something: `help` or `?` without a value. */
export function asksForHelp(list: string): boolean {
  return parseOptionList(list).some(({ name, value }) => (name === "help" || name === "?") && value === "on");
}

/** Doubles the commas of a value, so that a printed list can be given back. */
export function escapeValue(value: string): string {
  return value.replaceAll(",", ",,");
}

function flag(name: string): NamedValue {
  return name.startsWith("no") ? { name: name.slice(2), value: "off" } : { name, value: "on" };
}

function unescapeValue(list: string, start: number): { value: string; end: number } {
  let value = "";
  let at = start;
  for (;;) {
    const comma = list.indexOf(",", at);
    if (comma < 0) return { value: value + list.slice(at), end: list.length };
    value += list.slice(at, comma);
    if (list[comma + 1] !== ",") return { value, end: comma };
    value += ",";
    at = comma + 2;
  }
}
