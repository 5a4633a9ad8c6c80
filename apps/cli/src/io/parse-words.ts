/** The parts of which commands of `io` consist: options, offsets, lengths, patterns. */
import { UsageError } from "../errors/command-errors.ts";
import { getopt, type OptionTable, type ParsedArguments } from "../options/getopt.ts";
import { parseSize } from "../options/size.ts";
import { MisusedCommand, Refusal } from "./refusal.ts";

/** Bytes of one request: the largest multiple of 512 that QEMU's block layer takes. */
export const MAX_REQUEST_BYTES: number = 2 ** 31 - 512;

const SECTOR_BYTES = 512;

/** Signed 64-bit, as QEMU's offsets are. */
const MAX_OFFSET = 2n ** 63n - 1n;

/**
 * Options and operands of a command; `words` begin with its name.
 * @throws Refusal, with what is wrong on stderr and how the command is called as its result
 */
export function parseWords<Table extends OptionTable>(
  words: readonly string[],
  table: Table,
): ParsedArguments<Table> {
  try {
    const scanned = getopt(words.slice(1), table, { shortOnly: true });
    if (scanned.kind === "arguments") return scanned.parsed;
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    throw new MisusedCommand(`${words[0]}: ${error.message}`);
  }
  throw new MisusedCommand();
}

/** An offset or a length in bytes; beyond what a number holds exactly it is still larger than every disk. */
export function parseBytes(text: string): number {
  const size = parseSize(text);
  if (size === "out-of-range" || (typeof size === "bigint" && size > MAX_OFFSET)) {
    throw new Refusal(`Parsing error: argument too large -- ${text}`);
  }
  if (size === "invalid") {
    throw new Refusal(`Parsing error: non-numeric argument, or extraneous/unrecognized suffix -- ${text}`);
  }
  return Number(size);
}

/** The length of a request; `hint` says when a longer one would be possible. */
export function parseRequestLength(text: string, hint = ""): number {
  const length = parseBytes(text);
  if (length <= MAX_REQUEST_BYTES) return length;
  throw new Refusal(`length cannot exceed ${MAX_REQUEST_BYTES}${hint}, given ${text}`);
}

/** The lengths of the buffers of one request, as their sum. */
export function parseBufferLengths(texts: readonly string[]): number {
  let total = 0;
  for (const text of texts) {
    const length = parseBytes(text);
    if (length > MAX_REQUEST_BYTES) {
      throw new Refusal(`Argument '${text}' exceeds maximum size ${MAX_REQUEST_BYTES}`);
    }
    total += length;
    if (total > MAX_REQUEST_BYTES) {
      throw new Refusal(`The total number of bytes exceed the maximum size ${MAX_REQUEST_BYTES}`);
    }
  }
  return total;
}

/** @throws Refusal that names what is no multiple of a sector */
export function assertWholeSectors(values: Readonly<Record<"offset" | "count", number>>): void {
  for (const [name, value] of Object.entries(values)) {
    if (value % SECTOR_BYTES !== 0) throw new Refusal(`${value} is not a sector-aligned value for '${name}'`);
  }
}

/** The end of every command with -b. @throws Refusal */
export function refuseVmState(
  words: readonly string[],
  range: Readonly<Record<"offset" | "count", number>>,
): never {
  assertWholeSectors(range);
  throw new Refusal(`${words[0]} -b: the state of a virtual machine is not supported here`, "named");
}

/** The byte that -P tells; undefined without. */
export function parsePattern(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const value = parseInteger(text);
  if (value !== undefined && value >= 0 && value <= 0xff) return value;
  throw new Refusal(`${text} is not a valid pattern byte`);
}

/** An integer as C reads it: decimal, octal with a leading 0, or hexadecimal with 0x. */
export function parseInteger(text: string): number | undefined {
  const match = /^[ \t\n\v\f\r]*([+-]?)(?:0x([0-9a-f]+)|(0[0-7]*)|([1-9][0-9]*))$/i.exec(text);
  if (match === null) return undefined;
  const [, sign, hexadecimal, octal, decimal] = match;
  const value =
    hexadecimal !== undefined
      ? Number.parseInt(hexadecimal, 16)
      : octal !== undefined
        ? Number.parseInt(octal, 8)
        : Number(decimal);
  return sign === "-" ? -value : value;
}
