import type { Machine } from "../results.ts";
import { formatBytes } from "./units.ts";

/** Above this share of the processors, others' work is part of what was measured. */
const BUSY_LOAD = 0.5;

export function isBusy({ loadBefore, processors }: Machine): boolean {
  return loadBefore !== undefined && loadBefore > BUSY_LOAD * processors;
}

export function machineInWords(machine: Machine): string {
  const { processor, processors, memoryBytes, system, fileSystem, loadBefore } = machine;
  const load = loadBefore === undefined ? "" : `; load average before the first run ${loadBefore.toFixed(2)}`;
  return `${processors} × ${processor}, ${formatBytes(memoryBytes)}, ${system}, ${fileSystem}${load}`;
}
