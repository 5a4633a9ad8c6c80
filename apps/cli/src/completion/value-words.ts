/** What can be written as the value of an option, by the name that the value has in the help. */
import { AMENDABLE } from "../options/amendment.ts";
import { CREATION_OPTIONS, type CreationOption } from "../options/creation-schema.ts";
import { CACHE_MODES } from "../options/enumerations.ts";
import type { OptionSpec } from "../options/getopt.ts";

export type ValueWords =
  | { readonly kind: "words"; readonly words: readonly string[] }
  | { readonly kind: "files" }
  /** NAME=VALUE,... */
  | { readonly kind: "list"; readonly names: readonly ListName[] }
  /** A number, or a name that cannot be known. */
  | { readonly kind: "free" };

export interface ListName {
  readonly name: string;
  readonly help: string;
  /** Empty if anything can be its value. */
  readonly values: readonly string[];
}

const FREE: ValueWords = { kind: "free" };
const FILES: ValueWords = { kind: "files" };

/** The same name means the same in every command. Names with "|" in them say themselves what they can be. */
const VOCABULARY: Readonly<Record<string, ValueWords>> = {
  AIO: words(["threads", "native", "io_uring"]),
  BYTE: FREE,
  COMMAND: FREE,
  COUNT: FREE,
  DEF: FREE,
  FILE: FILES,
  FMT: words(Object.keys(CREATION_OPTIONS)),
  LEVEL: FREE,
  MODE: words(Object.keys(CACHE_MODES)),
  N: FREE,
  NAME: FREE,
  NEW: FILES,
  OFFSET: FREE,
  SIZE: FREE,
  SNAPSHOT: FREE,
  SOURCE: FREE,
  WHAT: FREE,
};

/** Undefined for a value whose name is not in the vocabulary. */
export function valueWords(command: string, { value }: OptionSpec): ValueWords | undefined {
  if (value === undefined) return undefined;
  if (value === "LIST") return { kind: "list", names: listNames(command) };
  return value.includes("|") ? words(value.split("|")) : VOCABULARY[value];
}

function words(list: readonly string[]): ValueWords {
  return { kind: "words", words: list };
}

/** The options of all formats, each once: which format is meant is not always known yet. */
function listNames(command: string): ListName[] {
  const names = new Map<string, ListName>();
  for (const option of Object.values(CREATION_OPTIONS).flat()) {
    const { name, help, unsupported } = option;
    if (unsupported !== undefined || (command === "amend" && !AMENDABLE.includes(name))) continue;
    const { values: known = [], ...first } = names.get(name) ?? { name, help };
    names.set(name, { ...first, values: [...new Set([...known, ...valuesOf(option)])] });
  }
  return [...names.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
}

function valuesOf({ kind, choices = [] }: CreationOption): readonly string[] {
  return kind === "switch" ? ["on", "off"] : choices;
}
