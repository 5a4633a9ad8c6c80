/** Sizes and times as people read them. */

const UNITS = ["", "K", "M", "G", "T"];

/** Reads "10G", "512M", "4096": powers of 1024. @throws RangeError */
export function parseBytes(text: string): number {
  const match = /^(\d+(?:\.\d+)?)([KMGT]?)$/i.exec(text);
  const bytes = Number(match?.[1]) * 1024 ** UNITS.indexOf((match?.[2] ?? "").toUpperCase());
  if (!Number.isSafeInteger(bytes) || bytes <= 0)
    throw new RangeError(`'${text}' is not a size like 512M or 10G`);
  return bytes;
}

/** "1.5 GiB"; three digits are enough to compare. */
export function formatBytes(bytes: number): string {
  let power = 0;
  let value = bytes;
  while (value >= 1000 && power < UNITS.length - 1) {
    value /= 1024;
    power++;
  }
  const digits = power === 0 || value >= 100 ? 0 : value >= 10 ? 1 : 2;
  return `${value.toFixed(digits)} ${power === 0 ? "B" : `${UNITS[power]}iB`}`;
}

/** Seconds with what precision their size deserves: "0.062 s", "1.43 s", "25.1 s". */
export function formatSeconds(seconds: number): string {
  const digits = seconds < 0.9995 ? 3 : seconds < 9.995 ? 2 : 1;
  return `${seconds.toFixed(digits)} s`;
}
