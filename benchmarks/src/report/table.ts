/** The rows of the report, the same on the terminal and in Markdown. */
import { summarize } from "../measure/statistics.ts";
import type { CaseResult, ToolResult } from "../results.ts";
import { referenceOf } from "./compare-tools.ts";
import { formatBytes, formatSeconds } from "./units.ts";

export const HEADINGS = [
  "tool",
  "median",
  "shortest to longest",
  "against qemu-img",
  "processor time",
  "peak memory",
  "output",
] as const;

/** A row for each tool; the texts stand under HEADINGS. */
export function caseRows(result: CaseResult): readonly (readonly string[])[] {
  const reference = referenceOf(result);
  return result.tools.map((tool) => toolRow(tool, reference));
}

function toolRow(tool: ToolResult, reference: ToolResult | undefined): readonly string[] {
  const seconds = summarize(tool.seconds);
  const ratio = reference === undefined ? undefined : seconds.median / summarize(reference.seconds).median;
  return [
    tool.name,
    formatSeconds(seconds.median),
    `${formatSeconds(seconds.smallest)} to ${formatSeconds(seconds.largest)}`,
    ratio === undefined ? "" : tool === reference ? "1" : `× ${ratio.toFixed(2)}`,
    tool.cpuSeconds.length === 0 ? "" : formatSeconds(summarize(tool.cpuSeconds).median),
    tool.peakBytes.length === 0 ? "" : formatBytes(summarize(tool.peakBytes).largest),
    tool.outputBytes === undefined ? "" : formatBytes(tool.outputBytes),
  ];
}

/** Columns aligned for a terminal; the first to the left, the others to the right. */
export function plainTable(rows: readonly (readonly string[])[]): string {
  const columns = Math.max(0, ...rows.map((row) => row.length));
  const widths = Array.from({ length: columns }, (_, column) =>
    Math.max(...rows.map((row) => row[column]?.length ?? 0)),
  );
  const line = (row: readonly string[]): string =>
    row
      .map((cell, column) => (column === 0 ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!)))
      .join("  ")
      .trimEnd();
  return rows.map(line).join("\n");
}

export function markdownTable(
  rows: readonly (readonly string[])[],
  headings: readonly string[] = HEADINGS,
): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(" | ")} |`;
  return [
    line(headings),
    line(headings.map((_, column) => (column === 0 ? "---" : "--:"))),
    ...rows.map(line),
  ].join("\n");
}
