/**
 * Command-line options as `getopt_long` reads them, which is what scripts written for qemu-img rely on: short
 * options in groups (`-pq`), values attached (`-ofoo`, `--output=json`) or separate, long names cut short where
 * that is unambiguous (`--backing`), options after operands, `--` before operands that begin with a dash.
 * `util.parseArgs` cannot express the abbreviations, and decides by itself whether `-f -x` has a value.
 */
import { OptionError } from "../errors/command-errors.ts";

export interface OptionSpec {
  /** One character, without the dash. */
  readonly short?: string;
  /** Without the dashes. */
  readonly long?: string;
  /** Other long names that mean the same, which other releases of qemu-img or its help have. */
  readonly aliases?: readonly string[];
  /** The name of the value in the help; options without it take no value. */
  readonly value?: string;
  /** One line for the help. */
  readonly help: string;
}

/** A command's options by the name that its code uses. */
export type OptionTable = Readonly<Record<string, OptionSpec>>;

export const HELP_OPTION: OptionSpec = { short: "h", long: "help", help: "print this help and exit" };

export interface ParsedArguments<Table extends OptionTable = OptionTable> {
  /** What is not an option, in order. */
  readonly operands: readonly string[];
  has(name: keyof Table): boolean;
  /** The value of an option; of the last one if it is repeated. */
  value(name: keyof Table): string | undefined;
  /** The values of a repeated option, in order. */
  values(name: keyof Table): readonly string[];
  /** Those of the options `names` that are given, as often and in the order in which they are. */
  inOrder<Name extends keyof Table>(
    names: readonly Name[],
  ): readonly { readonly name: Name; readonly value: string }[];
}

/** What a scan returns: either everything was understood, or `--help` was met first. */
export type ScanResult<Table extends OptionTable> =
  | { readonly kind: "arguments"; readonly parsed: ParsedArguments<Table> }
  | { readonly kind: "help" };

export interface ScanOptions {
  /** A last word that begins with a dash and a digit is no option. */
  readonly lastIsOperand?: boolean;
  /** As `getopt` without `_long`: no long names, and no help but what the table has. */
  readonly shortOnly?: boolean;
}

/**
 * @throws OptionError for an unknown or ambiguous option, and for a missing or superfluous value.
 */
export function getopt<Table extends OptionTable>(
  argv: readonly string[],
  table: Table,
  { lastIsOperand = false, shortOnly = false }: ScanOptions = {},
): ScanResult<Table> {
  const scan = new Scan(table, shortOnly);
  const last = argv[argv.length - 1];
  if (lastIsOperand && last !== undefined && /^-[\d.]/.test(last)) {
    const scanned = getopt(argv.slice(0, -1), table);
    if (scanned.kind === "help") return scanned;
    return { kind: "arguments", parsed: { ...scanned.parsed, operands: [...scanned.parsed.operands, last] } };
  }
  for (let index = 0; index < argv.length; index++) {
    const argument = argv[index]!;
    if (argument === "--") {
      scan.operands.push(...argv.slice(index + 1));
      break;
    }
    const takeNext = (): string | undefined => argv[++index];
    if (argument.startsWith("--") && !shortOnly) scan.long(argument, takeNext);
    else if (argument.startsWith("-") && argument.length > 1) scan.group(argument, takeNext);
    else scan.operands.push(argument);
    if (scan.helpWanted) return { kind: "help" };
  }
  return { kind: "arguments", parsed: scan.result() };
}

class Scan<Table extends OptionTable> {
  readonly operands: string[] = [];
  helpWanted = false;
  readonly #found = new Map<keyof Table, string[]>();
  readonly #order: { readonly name: keyof Table; readonly value: string }[] = [];
  readonly #entries: readonly (readonly [string | undefined, OptionSpec])[];

  constructor(table: Table, shortOnly: boolean) {
    this.#entries = [...(shortOnly ? [] : [[undefined, HELP_OPTION] as const]), ...Object.entries(table)];
  }

  long(argument: string, takeNext: () => string | undefined): void {
    const equals = argument.indexOf("=");
    const name = argument.slice(2, equals < 0 ? undefined : equals);
    const [key, spec] = this.#resolveLong(name, argument);
    const attached = equals < 0 ? undefined : argument.slice(equals + 1);
    if (spec.value === undefined) {
      if (attached !== undefined) throw new OptionError(`option '--${spec.long}' doesn't allow an argument`);
      this.#add(key, "");
      return;
    }
    const value = attached ?? takeNext();
    if (value === undefined) throw new OptionError(`option '--${spec.long}' requires an argument`);
    this.#add(key, value);
  }

  group(argument: string, takeNext: () => string | undefined): void {
    const letters = argument.slice(1);
    for (let at = 0; at < letters.length && !this.helpWanted; at++) {
      const letter = letters[at]!;
      const entry = this.#entries.find(([, { short }]) => short === letter);
      if (entry === undefined) throw new OptionError(`invalid option -- '${letter}'`);
      const [key, spec] = entry;
      if (spec.value === undefined) {
        this.#add(key, "");
        continue;
      }
      const rest = letters.slice(at + 1);
      const value = rest === "" ? takeNext() : rest;
      if (value === undefined) throw new OptionError(`option requires an argument -- '${letter}'`);
      this.#add(key, value);
      return;
    }
  }

  result(): ParsedArguments<Table> {
    const found = this.#found;
    const order = this.#order;
    return {
      operands: this.operands,
      has: (name) => found.has(name),
      value: (name) => found.get(name)?.at(-1),
      values: (name) => found.get(name) ?? [],
      inOrder: (names) =>
        order.flatMap(({ name, value }) => {
          const wanted = names.find((candidate) => candidate === name);
          return wanted === undefined ? [] : [{ name: wanted, value }];
        }),
    };
  }

  #resolveLong(name: string, argument: string): readonly [string | undefined, OptionSpec] {
    const exact = this.#entries.find(([, spec]) => longNames(spec).includes(name));
    if (exact !== undefined) return exact;
    const matches = (long: string): boolean => name !== "" && long.startsWith(name);
    const candidates = this.#entries.filter(([, spec]) => longNames(spec).some(matches));
    if (candidates.length === 1) return candidates[0]!;
    if (candidates.length === 0) throw new OptionError(`unrecognized option '${argument.split("=")[0]}'`);
    const names = candidates
      .flatMap(([, spec]) => longNames(spec).filter(matches))
      .map((long) => `'--${long}'`)
      .join(" ");
    throw new OptionError(`option '--${name}' is ambiguous; possibilities: ${names}`);
  }

  #add(key: string | undefined, value: string): void {
    if (key === undefined) {
      this.helpWanted = true;
      return;
    }
    this.#order.push({ name: key, value });
    this.#found.set(key, [...(this.#found.get(key) ?? []), value]);
  }
}

/** All long names of an option, the one that the help shows first. */
export function longNames({ long, aliases = [] }: OptionSpec): readonly string[] {
  return long === undefined ? [] : [long, ...aliases];
}
