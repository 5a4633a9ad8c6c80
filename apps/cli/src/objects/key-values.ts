/** The properties of an object: `TYPE,NAME=VALUE,...` with commas in values written twice, or a JSON object. */
import { CommandError } from "../errors/command-errors.ts";

/** By name; `qom-type` is the type. What asks for help has `help: true`. */
export interface ObjectProperties {
  readonly values: ReadonlyMap<string, string>;
  readonly help: boolean;
}

/** @throws CommandError in qemu-img's words */
export function parseObjectProperties(text: string): ObjectProperties {
  return text.startsWith("{") ? fromJson(text) : fromList(text);
}

function fromList(text: string): ObjectProperties {
  const values = new Map<string, string>();
  let help = false;
  for (let rest = text; rest !== ""; ) {
    const name = /^[^=,]*/.exec(rest)![0];
    if (name === "") throw new CommandError("Invalid parameter ''");
    if (rest[name.length] === "=") {
      const value = /^(?:[^,]|,,)*/.exec(rest.slice(name.length + 1))![0];
      const property = name.split(".")[0]!;
      if (property !== name) throw new CommandError(`Parameters '${property}.*' are unexpected`);
      values.set(name, value.replaceAll(",,", ","));
      rest = rest.slice(name.length + 1 + value.length + 1);
      continue;
    }
    // Without "=" it is the type, if it comes first.
    if (name === "help" || name === "?") help = true;
    else if (rest === text) values.set("qom-type", name);
    else throw new CommandError(`Expected '=' after parameter '${name}'`);
    rest = rest.slice(name.length + 1);
  }
  return { values, help };
}

function fromJson(text: string): ObjectProperties {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new CommandError("JSON parse error in the definition of an object", { cause });
  }
  const values = new Map<string, string>();
  for (const [name, member] of Object.entries(value as object)) {
    if (typeof member !== "string") {
      throw new CommandError(`Invalid parameter type for '${name}', expected: string`);
    }
    values.set(name, member);
  }
  return { values, help: false };
}
