/**
 * Sizes as qemu-img reads them: decimal with an optional suffix b, k, M, G, T, P or E (powers of 1024, either
 * case), a decimal fraction if the suffix is larger than a byte (rounded to bytes), or hexadecimal without suffix.
 */
import { CommandError } from "../errors/command-errors.ts";

const SUFFIXES = "bkmgtpe";
const UINT64_MAX = 2n ** 64n - 1n;
const INT64_MAX = 2n ** 63n - 1n;
/** How the fraction is held while it is scaled, so that 0.1E gives the same byte as in QEMU: 64 bits, cut off. */
const FRACTION_BITS = 64n;

export type SizeFailure = "invalid" | "out-of-range";

/** The size in bytes, or why there is none: `out-of-range` for negative numbers and for 2^64 and more. */
export function parseSize(text: string): bigint | SizeFailure {
  const trimmed = text.replace(/^[ \t\n\v\f\r]+/, "");
  const hexadecimal = /^\+?(0[xX][0-9a-fA-F]+)$/.exec(trimmed);
  if (hexadecimal !== null) return clamp(BigInt(hexadecimal[1]!));
  if (/^-(\d|\.\d)/.test(trimmed)) return "out-of-range";
  const decimal = /^\+?(\d*)(?:(\.)(\d*))?([bkmgtpe]?)$/i.exec(trimmed);
  if (decimal === null) return "invalid";
  const [, whole = "", , digits = "", suffix = ""] = decimal;
  if (whole === "" && digits === "") return "invalid";
  const exponent = suffix === "" ? 0 : SUFFIXES.indexOf(suffix.toLowerCase());
  const scale = 1n << BigInt(10 * exponent);
  const fraction = Number(`0.${digits}`);
  if (fraction > 0 && scale === 1n && fraction < 1) return "invalid";
  let scaled = BigInt(whole === "" ? 0 : whole) * scale;
  if (fraction === 1) scaled += scale;
  else scaled += roundHalfUp(fixedPoint(fraction) * scale);
  return clamp(scaled);
}

/**
 * A size given to an option.
 * @throws CommandError in qemu-img's words; `name` is what the size is ("image size").
 */
export function requireSize(name: string, text: string): number {
  const size = parseSize(text);
  if (size === "invalid") {
    throw new CommandError(`Invalid ${name} specified: '${text}'.`);
  }
  if (size === "out-of-range" || size > INT64_MAX) {
    throw new CommandError(`Invalid ${name} specified. Must be between 0 and ${INT64_MAX}.`);
  }
  return exactNumber(name, size);
}

/** What is wrong with the size that an option is given, and how it is written. */
export function invalidSizeOption(name: string): CommandError {
  return new CommandError(`Parameter '${name}' expects a non-negative number below 2^64`, {
    hints: [
      "Optional suffix k, M, G, T, P or E means kilo-, mega-, giga-, tera-, peta-",
      "and exabytes, respectively.",
    ],
  });
}

/**
 * A size as the value of one of QEMU's parameters, which messages then name.
 * @throws CommandError in qemu-img's words
 */
export function requireParameterSize(name: string, text: string): number {
  const size = parseSize(text);
  if (size === "out-of-range")
    throw new CommandError(`Value '${text}' is out of range for parameter '${name}'`);
  if (size === "invalid") throw invalidSizeOption(name);
  return exactNumber(name, size);
}

/** @throws CommandError for sizes that a number cannot hold exactly: nothing is rounded in silence. */
export function exactNumber(name: string, size: bigint): number {
  if (size > BigInt(Number.MAX_SAFE_INTEGER)) {
    throw new CommandError(
      `The ${name} ${size} is not supported: the largest is ${Number.MAX_SAFE_INTEGER} bytes`,
    );
  }
  return Number(size);
}

function fixedPoint(fraction: number): bigint {
  const value = BigInt(Math.trunc(fraction * 2 ** Number(FRACTION_BITS)));
  return value === 0n && fraction > 0 ? 1n : value;
}

function roundHalfUp(fixed: bigint): bigint {
  return (fixed + (1n << (FRACTION_BITS - 1n))) >> FRACTION_BITS;
}

function clamp(size: bigint): bigint | SizeFailure {
  return size > UINT64_MAX ? "out-of-range" : size;
}
