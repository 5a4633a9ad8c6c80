import { formatFixed } from "./decimal.ts";

const PREFIXES = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];

/** A size as qemu-img prints it for people: three significant digits, the larger unit from 1000 on ("0.977 MiB"). */
export function humanSize(bytes: number): string {
  let power = 0;
  while (power < PREFIXES.length - 1 && bytes / 1024 ** power >= 1000) power++;
  return `${threeDigits(bytes / 1024 ** power)} ${PREFIXES[power]}B`;
}

/** As C prints `%0.3g` for 0 and for 0.9 .. 1024: no zeros at the end, an exponent if three digits do not suffice. */
function threeDigits(value: number): string {
  const decimals = value >= 100 ? 0 : value >= 10 ? 1 : value >= 1 ? 2 : 3;
  const text = formatFixed(value, decimals);
  if (text === "1000") return "1e+03";
  return text.includes(".") ? text.replace(/\.?0+$/, "") : text;
}
