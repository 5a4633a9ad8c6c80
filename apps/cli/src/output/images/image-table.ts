/** Trees of images as a table for people. */
import type { ImageNode, ImageProblem } from "@qcow2/node";
import stringWidth from "string-width";
import { oneLine } from "../../errors/describe-error.ts";
import { humanSize } from "../human-size.ts";
import type { Style } from "../style.ts";
import { usedShare } from "../used-share.ts";
import { walkTrees } from "./walk-trees.ts";

export interface ImageTableOptions {
  readonly style: Style;
  /** What an image is called: its path from where it is most easily seen. */
  readonly nameOf: (path: string) => string;
  /** The images were checked, and those without a finding are known to be clean. */
  readonly isChecked: boolean;
}

interface Cell {
  readonly text: string;
  readonly paint?: (text: string) => string;
}

interface Column {
  readonly title: string;
  readonly align: "left" | "right";
}

const COLUMNS: readonly Column[] = [
  { title: "IMAGE", align: "left" },
  { title: "FORMAT", align: "left" },
  { title: "VIRTUAL", align: "right" },
  { title: "DISK", align: "right" },
  { title: "USED", align: "right" },
  { title: "SNAPS", align: "right" },
  { title: "BITMAPS", align: "right" },
  { title: "FLAGS", align: "left" },
  { title: "HEALTH", align: "left" },
];

const NONE = "-";
const GAP = "  ";

/** The lines of the table, its heading first, and a line that sums up. */
export function* imageTable(trees: readonly ImageNode[], options: ImageTableOptions): Generator<string> {
  const { style } = options;
  const rows: (readonly Cell[])[] = [COLUMNS.map(({ title }) => ({ text: title, paint: style.heading }))];
  const images: ImageNode[] = [];
  for (const { image, guide } of walkTrees(trees)) {
    images.push(image);
    rows.push(rowOf(image, guide, options));
  }
  const widths = COLUMNS.map((_, at) =>
    rows.reduce((widest, row) => Math.max(widest, stringWidth(row[at]?.text ?? "")), 0),
  );
  for (const row of rows) yield line(row, widths);
  yield "";
  yield style.faint(summary(images, trees.length));
}

function line(row: readonly Cell[], widths: readonly number[]): string {
  const cells = row.map(({ text, paint = (plain) => plain }, at) => {
    const padding = " ".repeat((widths[at] ?? 0) - stringWidth(text));
    if (COLUMNS[at]?.align === "right") return padding + paint(text);
    return paint(text) + (at === row.length - 1 ? "" : padding);
  });
  return cells.join(GAP).trimEnd();
}

function rowOf(image: ImageNode, guide: string, options: ImageTableOptions): readonly Cell[] {
  const { style } = options;
  const { virtualSize, actualSize, info } = image;
  const faint = (text: string): Cell => (text === NONE ? { text, paint: style.faint } : { text });
  return [
    nameCell(image, guide, options),
    faint(formatText(image)),
    faint(virtualSize === undefined ? NONE : humanSize(virtualSize)),
    faint(actualSize === undefined ? NONE : humanSize(actualSize)),
    faint(usedText(image)),
    faint(countText(info?.snapshotCount)),
    faint(countText(info?.bitmapCount)),
    { text: flagsOf(image).join(","), paint: style.notable },
    healthCell(image, options),
  ];
}

function nameCell(
  { path, otherPaths, isListed }: ImageNode,
  guide: string,
  { style, nameOf }: ImageTableOptions,
): Cell {
  const name = oneLine(nameOf(path));
  const also =
    otherPaths.length === 0 ? "" : ` (also ${otherPaths.map((other) => oneLine(nameOf(other))).join(", ")})`;
  return {
    text: guide + name + also,
    paint: () => style.faint(guide) + (isListed ? style.strong(name) : style.faint(name)) + style.faint(also),
  };
}

function formatText({ format, info }: ImageNode): string {
  if (format === undefined) return NONE;
  return info === undefined ? format : `${format} v${info.version}`;
}

function usedText({ virtualSize, actualSize }: ImageNode): string {
  if (virtualSize === undefined || actualSize === undefined || virtualSize === 0) return NONE;
  return usedShare({ virtualSize, actualSize });
}

function countText(count: number | undefined): string {
  return count === undefined || count === 0 ? NONE : String(count);
}

function flagsOf({ info, use }: ImageNode): string[] {
  const flags: string[] = [];
  if (use === "writing") flags.push("in use");
  if (use === "reading") flags.push("being read");
  if (info?.dirty === true) flags.push("dirty");
  if (info?.corrupt === true) flags.push("corrupt");
  if (info !== undefined && info.encryption !== "none") flags.push("encrypted");
  if (info?.dataFile !== undefined) flags.push("data file");
  return flags;
}

function healthCell({ health, problems, check }: ImageNode, { style, isChecked }: ImageTableOptions): Cell {
  const paint = {
    good: style.good,
    warning: style.warning,
    broken: style.bad,
    unknown: style.faint,
  }[health];
  const good = isChecked && check !== undefined ? "clean" : "ok";
  const state = health === "good" ? good : health;
  const messages = problems.map(({ message }: ImageProblem) => oneLine(message)).join("; ");
  return { text: messages === "" ? state : `${state}: ${messages}`, paint };
}

function summary(images: readonly ImageNode[], trees: number): string {
  const actual = images.reduce((sum, { actualSize }) => sum + (actualSize ?? 0), 0);
  const missing = images.filter(({ problems }) => problems.some(({ code }) => code === "missing")).length;
  const broken = images.filter(({ health }) => health === "broken").length - missing;
  const warnings = images.filter(({ health }) => health === "warning").length;
  const problems = [
    ...(broken > 0 ? [`${broken} broken`] : []),
    ...(missing > 0 ? [`${missing} missing`] : []),
    ...(warnings > 0 ? [count(warnings, "warning")] : []),
  ];
  const state = problems.length === 0 ? "" : `; ${problems.join(", ")}`;
  const present = count(images.length - missing, "image");
  return `${present} in ${count(trees, "tree")}, ${humanSize(actual)} on disk${state}`;
}

function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? "" : "s"}`;
}
