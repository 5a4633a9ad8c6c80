/** `info` and `check` for a person at a terminal: the same lines with emphasis, and with units where numbers are bare. */
import type { CheckResult } from "@qcow2/core";
import { oneLine } from "../errors/describe-error.ts";
import { type CheckPart, checkParts } from "./check-report.ts";
import { humanSize } from "./human-size.ts";
import { type ImageReport, type ReportLine, reportLines } from "./image-report.ts";
import { type Style, styleFor } from "./style.ts";
import type { Terminal } from "./terminal.ts";
import { usedShare } from "./used-share.ts";

/** Unlike in the plain text, control characters in names are shown, not sent to the terminal. */
export function reportOnTerminal(report: ImageReport, terminal: Terminal): string {
  const style = styleFor(terminal);
  return Array.from(reportLines(report), (line) => `${lineOnTerminal(line, report, style)}\n`).join("");
}

export function checkOnTerminal(result: CheckResult, terminal: Terminal): string {
  const style = styleFor(terminal);
  const paints: Readonly<Record<CheckPart["kind"], (text: string) => string>> = {
    good: style.good,
    corruptions: style.bad,
    leaks: style.warning,
    errors: style.bad,
    numbers: style.faint,
  };
  return checkParts(result)
    .map(({ kind, text }) => paints[kind](text))
    .join("");
}

function lineOnTerminal(line: ReportLine, report: ImageReport, style: Style): string {
  const indentation = "    ".repeat(line.level);
  if (line.kind === "value") {
    const value = oneLine(valueOnTerminal(line, report));
    return `${indentation}${style.faint(`${line.label}:`)} ${paintFor(line, style)(value)}`;
  }
  const text = oneLine(line.text);
  return indentation + (line.kind === "heading" ? style.heading(`${text}:`) : text);
}

type ValueLine = Extract<ReportLine, { kind: "value" }>;

function valueOnTerminal(
  { level, label, value, bytes }: ValueLine,
  { virtualSize, actualSize }: ImageReport,
): string {
  if (bytes !== undefined) return sizeOf(bytes);
  if (level > 0 || label !== "disk size" || actualSize === undefined || virtualSize === 0) return value;
  return `${value} (${usedShare({ virtualSize, actualSize })} of the virtual size)`;
}

function sizeOf(bytes: number): string {
  return `${humanSize(bytes)} (${bytes} bytes)`;
}

function paintFor({ level, label, value }: ValueLine, style: Style): (text: string) => string {
  if (level === 0 && label === "image") return style.strong;
  if (label === "corrupt" && value === "true") return style.bad;
  if (label === "cleanly shut down" || value === "in-use") return style.warning;
  if (label === "encrypted") return style.notable;
  return (text) => text;
}
