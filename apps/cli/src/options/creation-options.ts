/** The `-o` options of one new image: given, checked by kind, and printed as qemu-img prints them. */
import { CommandError } from "../errors/command-errors.ts";
import {
  CREATION_OPTIONS,
  type CreatableFormat,
  type CreationOption,
  isCreatableFormat,
  isFileOption,
  refusedFormat,
} from "./creation-schema.ts";
import { parseSwitch } from "./enumerations.ts";
import { escapeValue, parseOptionList } from "./option-list.ts";
import { exactNumber, requireParameterSize } from "./size.ts";

interface ParseOptions {
  /** The image is not made, so that nothing needs to be supported. Default false. */
  readonly isMeasured?: boolean;
}

export class CreationOptions {
  readonly format: CreatableFormat;
  readonly #given = new Map<string, string>();
  readonly #isMeasured: boolean;

  private constructor(format: CreatableFormat, { isMeasured = false }: ParseOptions) {
    this.format = format;
    this.#isMeasured = isMeasured;
  }

  /**
   * Reads a list as `-o` takes it; of repeated options the last counts.
   * @throws CommandError for an unknown format or option, a value of the wrong kind, and what is not supported.
   */
  static parse(format: string, list: string | undefined, parseOptions: ParseOptions = {}): CreationOptions {
    if (!isCreatableFormat(format)) throw new CommandError(refusedFormat(format));
    const options = new CreationOptions(format, parseOptions);
    for (const { name, value } of list === undefined ? [] : parseOptionList(list)) options.set(name, value);
    return options;
  }

  set(name: string, value: string): void {
    const option = this.#find(name);
    if (option === undefined) throw new CommandError(`Invalid parameter '${name}'`);
    const parsed = readValue(option, value);
    const asks = parsed !== false && parsed !== 0;
    if (option.unsupported !== undefined && asks && !this.#isMeasured)
      throw new CommandError(option.unsupported);
    this.#given.set(name, value);
  }

  /** What `-b` and `-F` (or `-B` and `-F`) add. @throws CommandError if the format has no backing files */
  setBacking(file: string | undefined, format: string | undefined): void {
    if (file !== undefined) {
      if (!this.#accepts("backing_file")) {
        throw new CommandError(`Backing file not supported for file format '${this.format}'`);
      }
      this.set("backing_file", file);
    }
    if (format !== undefined) {
      if (!this.#accepts("backing_fmt")) {
        throw new CommandError(`Backing file format not supported for file format '${this.format}'`);
      }
      this.set("backing_fmt", format);
    }
  }

  has(name: string): boolean {
    return this.#given.has(name);
  }

  text(name: string): string | undefined {
    return this.#given.get(name);
  }

  switch(name: string): boolean | undefined {
    return this.#read(name, "boolean");
  }

  /** A size or a number; sizes in bytes. */
  number(name: string): number | undefined {
    return this.#read(name, "number");
  }

  /** `name=value` for everything that is given or has a default, with a space between. */
  toString(): string {
    return CREATION_OPTIONS[this.format]
      .flatMap((option) => {
        const given = this.#given.get(option.name);
        const value = given ?? option.standard;
        return value === undefined ? [] : [`${option.name}=${printed(option, value, given !== undefined)}`];
      })
      .join(" ");
  }

  #accepts(name: string): boolean {
    return this.#find(name) !== undefined;
  }

  #find(name: string): CreationOption | undefined {
    return CREATION_OPTIONS[this.format].find((option) => option.name === name);
  }

  #read<Type extends "boolean" | "number">(
    name: string,
    type: Type,
  ): (Type extends "boolean" ? boolean : number) | undefined {
    const text = this.#given.get(name);
    const option = this.#find(name);
    if (text === undefined || option === undefined) return undefined;
    const value = readValue(option, text);
    if (typeof value !== type) throw new Error(`the option '${name}' is no ${type}`);
    return value as Type extends "boolean" ? boolean : number;
  }
}

/** The lines of `-o help`, alphabetical as in qemu-img. */
export function creationOptionsHelp(format: string, withFileOptions: boolean): string {
  if (!isCreatableFormat(format)) throw new CommandError(refusedFormat(format));
  const lines = optionLines(
    CREATION_OPTIONS[format].filter((option) => withFileOptions || !isFileOption(option)),
  );
  const more = withFileOptions ? "" : "\nName the target too to see the options of its file.\n";
  return `Supported ${withFileOptions ? "" : `${format} `}options:\n${lines}${more}`;
}

/** A line for each option, alphabetical. */
export function optionLines(options: readonly CreationOption[]): string {
  const placeholders = { string: "<str>", switch: "<bool (on/off)>", size: "<size>", number: "<num>" };
  return options
    .toSorted((a, b) => (a.name < b.name ? -1 : 1))
    .map(({ name, kind, help }) => `  ${`${name}=${placeholders[kind]}`.padEnd(22)} - ${help}\n`)
    .join("");
}

function readValue(option: CreationOption, text: string): string | number | boolean {
  switch (option.kind) {
    case "string":
      return text;
    case "switch":
      return parseSwitch(option.name, text);
    case "number":
      return readNumber(option.name, text);
    case "size":
      return requireParameterSize(option.name, text);
  }
}

function readNumber(name: string, text: string): number {
  const [, sign, digits] = /^\s*([+-]?)(0[xX][0-9a-fA-F]+|\d+)$/.exec(text) ?? [];
  if (digits === undefined) throw new CommandError(`Parameter '${name}' expects a number`);
  // A number as far as QEMU is concerned; that it is out of range is for the option to say.
  const number = exactNumber(name, BigInt(digits));
  return sign === "-" ? -number : number;
}

function printed(option: CreationOption, value: string, given: boolean): string {
  if (option.kind === "string") return escapeValue(value);
  if (given && (option.kind === "size" || option.kind === "number")) return String(readValue(option, value));
  return value;
}
