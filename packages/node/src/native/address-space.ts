/** How much more address space the host lets this process take. */
import fs from "node:fs";

const KIB = 1024;

/** What Linux says of the limits of this process; empty elsewhere. */
export function processLimits(): string {
  return textOf("/proc/self/limits");
}

/**
 * Bytes that may still be mapped, by the limits of the process (`ulimit -v`, `ulimit -d`); Infinity where there are none,
 * or none that are known: only Linux says so.
 */
export function addressSpaceLeft(limits: string = processLimits()): number {
  const space = softLimit(limits, "Max address space");
  const data = softLimit(limits, "Max data size");
  if (space === Number.POSITIVE_INFINITY && data === Number.POSITIVE_INFINITY) return space;
  const used = textOf("/proc/self/status");
  return Math.min(space - kibOf(used, "VmSize"), data - kibOf(used, "VmData"));
}

/** The soft limit of that name in the text of /proc/self/limits; Infinity for "unlimited". */
export function softLimit(limits: string, name: string): number {
  const value = new RegExp(`^${name} +(\\d+)`, "m").exec(limits)?.[1];
  return value === undefined ? Number.POSITIVE_INFINITY : Number(value);
}

function kibOf(status: string, name: string): number {
  const kib = new RegExp(`^${name}:\\s*(\\d+) kB`, "m").exec(status)?.[1];
  return kib === undefined ? 0 : KIB * Number(kib);
}

function textOf(file: string): string {
  if (process.platform !== "linux") return "";
  try {
    return fs.readFileSync(file, "latin1");
  } catch {
    // No /proc here.
    return "";
  }
}
