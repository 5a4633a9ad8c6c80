/** Answers of qemu-io without what no two runs have in common. */
import type { ToolResult } from "../run-tool.ts";

/** "00.01 sec (4.2 MiB/sec and 67.3 ops/sec)", also with hours and minutes instead of "sec". */
const RATES = /\d[\d:.]*( sec)? \([^()\n]*\/sec and [\d.]+ ops\/sec\)/g;
/** The same as values separated by commas: "0:00:00.01,4404019.2,67.3". */
const RATE_VALUES = /\b\d+:\d\d:\d\d\.\d\d,[\d.]+,[\d.]+$/gm;

export function withoutTimes(answer: ToolResult): ToolResult {
  const stdout = answer.stdout.replace(RATES, "TIME").replace(RATE_VALUES, "TIME");
  return { ...answer, stdout };
}
