/** Counts which cases ran against which QEMU release, over all processes of a test run. */
import { appendFileSync, existsSync, readFileSync } from "node:fs";
import { compareVersions } from "./qemu-release.ts";

/** The file that every process of a run appends to; set by the run's global setup. */
const LOG_VARIABLE = "QCOW2_CONFORMANCE_LOG";

type Line =
  | { readonly kind: "ran"; readonly group: string; readonly version: string; readonly count: number }
  | { readonly kind: "left-out"; readonly group: string; readonly reason: string };

function append(line: Line): void {
  const file = process.env[LOG_VARIABLE];
  if (file !== undefined) appendFileSync(file, `${JSON.stringify(line)}\n`);
}

/** Records that `count` cases of a group ran and passed against a QEMU version. Call it after the last assertion. */
export function caseRan(group: string, version: string, count = 1): void {
  append({ kind: "ran", group, version, count });
}

/** Records that a group was left out, and why. */
export function caseLeftOut(group: string, reason: string): void {
  append({ kind: "left-out", group, reason });
}

/** Tells this process, and those it starts, where to append. */
export function setCaseLog(file: string): void {
  process.env[LOG_VARIABLE] = file;
}

/** A table: one line for each group, one column for each QEMU version, then what was left out. */
export function summariseCases(file: string): string {
  const lines: Line[] = existsSync(file)
    ? readFileSync(file, "utf8")
        .split("\n")
        .filter((line) => line !== "")
        .map((line) => JSON.parse(line) as Line)
    : [];
  const counts = new Map<string, Map<string, number>>();
  const leftOut = new Set<string>();
  for (const line of lines) {
    if (line.kind === "left-out") {
      leftOut.add(`  left out: ${line.group}: ${line.reason}`);
      continue;
    }
    const ofGroup = counts.get(line.group) ?? new Map<string, number>();
    ofGroup.set(line.version, (ofGroup.get(line.version) ?? 0) + line.count);
    counts.set(line.group, ofGroup);
  }
  if (counts.size === 0) return ["Conformance: no case ran.", ...leftOut].join("\n");
  const versions = [...new Set([...counts.values()].flatMap((ofGroup) => [...ofGroup.keys()]))].sort(
    (first, second) => compareVersions(second, first),
  );
  const table = [
    ["Conformance cases passed against QEMU", ...versions],
    ...[...counts]
      .sort()
      .map(([group, ofGroup]) => [
        `  ${group}`,
        ...versions.map((version) => String(ofGroup.get(version) ?? "-")),
      ]),
    [
      "  total",
      ...versions.map((version) =>
        String([...counts.values()].reduce((sum, ofGroup) => sum + (ofGroup.get(version) ?? 0), 0)),
      ),
    ],
  ];
  const widths = table[0]!.map((_, column) => Math.max(...table.map((row) => row[column]!.length)));
  const format = (row: readonly string[]): string =>
    row
      .map((cell, column) => (column === 0 ? cell.padEnd(widths[0]!) : cell.padStart(widths[column]! + 2)))
      .join("");
  return [...table.map(format), ...leftOut].join("\n");
}
