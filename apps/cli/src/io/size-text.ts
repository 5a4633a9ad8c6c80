import { formatFixed } from "../output/decimal.ts";

const UNITS = ["bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

/**
 * A number of bytes, or of bytes a second, as qemu-io prints it: three decimals in the largest unit that fits, six for
 * single bytes. From ".000" on nothing is shown, also where the decimals go on ("351.000688" is "351").
 */
export function sizeText(bytes: number): string {
  let power = 0;
  while (power < UNITS.length - 1 && bytes >= 1024 ** (power + 1)) power++;
  const digits = formatFixed(bytes / 1024 ** power, power === 0 ? 6 : 3);
  return `${digits.replace(/\.000.*$/, "")} ${UNITS[power]}`;
}
