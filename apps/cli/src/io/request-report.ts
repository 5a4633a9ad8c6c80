/** What is printed when a request has ended well. */
import { formatFixed } from "../output/decimal.ts";
import { sizeText } from "./size-text.ts";

export interface RequestReport {
  /** "read", "wrote", "discard", ... */
  readonly what: string;
  readonly offset: number;
  /** Bytes. */
  readonly length: number;
  readonly seconds: number;
  /** One line of values separated by commas. */
  readonly machineReadable: boolean;
}

export function requestReport({ what, offset, length, seconds, machineReadable }: RequestReport): string {
  const [bytesPerSecond, requestsPerSecond] = [length / seconds, 1 / seconds];
  if (machineReadable) {
    const values = [length, 1, elapsedText(seconds, true), formatFixed(bytesPerSecond, 3)];
    return `${values.join(",")},${formatFixed(requestsPerSecond, 3)}\n`;
  }
  const rates = `${sizeText(bytesPerSecond)}/sec and ${formatFixed(requestsPerSecond, 4)} ops/sec`;
  return (
    `${what} ${length}/${length} bytes at offset ${offset}\n` +
    `${sizeText(length)}, 1 ops; ${elapsedText(seconds, false)} (${rates})\n`
  );
}

/** "00.03 sec", or "0:06:58.01" if it is a minute or more, or if `full`. */
function elapsedText(elapsed: number, full: boolean): string {
  const hundredths = Math.floor(elapsed * 100);
  const seconds = `${twoDigits(Math.floor(hundredths / 100) % 60)}.${twoDigits(hundredths % 100)}`;
  if (!full && hundredths < 6000) return `${seconds} sec`;
  const minutes = Math.floor(hundredths / 6000);
  return `${Math.floor(minutes / 60)}:${twoDigits(minutes % 60)}:${seconds}`;
}

function twoDigits(value: number): string {
  return String(value).padStart(2, "0");
}

/** Seconds since `start`, a value of `process.hrtime.bigint()`; never 0. */
export function secondsSince(start: bigint): number {
  return Math.max(1, Number(process.hrtime.bigint() - start)) / 1e9;
}
