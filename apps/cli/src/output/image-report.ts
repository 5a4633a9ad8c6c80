/** What `info` says about one node (an image, or the file that holds it), as JSON and for people. */
import type { SnapshotInfo } from "@qcow2/core";
import { humanSize } from "./human-size.ts";
import { isList, type JsonValue, orderedMembers } from "./qemu-json.ts";
import { snapshotTable } from "./snapshot-table.ts";

export type SpecificData = Readonly<Record<string, JsonValue | undefined>>;

export interface ImageReport {
  readonly filename: string;
  readonly format: string;
  /** Bytes: of the virtual disk, or of the file for a node that only stores an image. */
  readonly virtualSize: number;
  /** Bytes that the file occupies; undefined where the host does not say. */
  readonly actualSize: number | undefined;
  readonly encrypted?: boolean;
  readonly clusterSize?: number;
  readonly dirty?: boolean;
  readonly backing?: BackingReport;
  readonly snapshots?: readonly SnapshotInfo[];
  /** What only this format has. */
  readonly specific?: {
    readonly type: string;
    readonly data: SpecificData;
  };
  readonly children: readonly { readonly name: string; readonly report: ImageReport }[];
}

export interface BackingReport {
  /** As stored in the image. */
  readonly filename: string;
  /** Resolved against the image's own place; undefined if it cannot be. */
  readonly fullFilename: string | undefined;
  readonly format: string | undefined;
}

export function reportJson(report: ImageReport): JsonValue {
  const { backing, snapshots = [] } = report;
  return {
    children: report.children.map(({ name, report: child }) => ({ name, info: reportJson(child) })),
    filename: report.filename,
    format: report.format,
    "virtual-size": report.virtualSize,
    "actual-size": report.actualSize,
    encrypted: report.encrypted === true ? true : undefined,
    "cluster-size": report.clusterSize,
    "dirty-flag": report.dirty,
    "format-specific": report.specific,
    "backing-filename": backing?.filename,
    "full-backing-filename": backing?.fullFilename,
    "backing-filename-format": backing?.format,
    snapshots: snapshots.length === 0 ? undefined : snapshots.map(snapshotJson),
  };
}

/** A line of the text for people. `level` counts indentations, of four spaces each. */
export type ReportLine =
  | { readonly level: number; readonly kind: "heading" | "row"; readonly text: string }
  | {
      readonly level: number;
      readonly kind: "value";
      readonly label: string;
      readonly value: string;
      /** Bytes that `value` gives as a plain number, for whoever has a better way to write them. */
      readonly bytes: number | undefined;
    };

/** Text for people, as qemu-img prints it. */
export function reportText(report: ImageReport): string {
  return Array.from(reportLines(report), (line) => `${plainLine(line)}\n`).join("");
}

function plainLine(line: ReportLine): string {
  const indentation = "    ".repeat(line.level);
  if (line.kind === "value") return `${indentation}${line.label}: ${line.value}`;
  return `${indentation}${line.text}${line.kind === "heading" ? ":" : ""}`;
}

/** Nodes below the first are indented, and called by what they are: a file, not a disk. */
export function* reportLines(report: ImageReport, level = 0, path = "/"): Generator<ReportLine> {
  yield* nodeLines(report, level, level > 0 && report.children.length === 0);
  for (const { name, report: child } of report.children) {
    yield { level, kind: "heading", text: `Child node '${path}${name}'` };
    yield* reportLines(child, level + 1, `${path}${name}/`);
  }
}

function* nodeLines(report: ImageReport, level: number, isStorage: boolean): Generator<ReportLine> {
  const { actualSize, backing, clusterSize, snapshots = [], specific } = report;
  const line = (label: string, value: string, bytes?: number): ReportLine => ({
    level,
    kind: "value",
    label,
    value,
    bytes,
  });
  yield line(isStorage ? "filename" : "image", report.filename);
  yield line(isStorage ? "protocol type" : "file format", report.format);
  const size = `${humanSize(report.virtualSize)} (${report.virtualSize} bytes)`;
  yield line(isStorage ? "file length" : "virtual size", size);
  yield line("disk size", actualSize === undefined ? "unavailable" : humanSize(actualSize));
  if (report.encrypted === true) yield line("encrypted", "yes");
  if (clusterSize !== undefined) yield line("cluster_size", String(clusterSize), clusterSize);
  if (report.dirty === true) yield line("cleanly shut down", "no");
  if (backing !== undefined) {
    yield line("backing file", `${backing.filename}${placeOf(backing)}`);
    if (backing.format !== undefined) yield line("backing file format", backing.format);
  }
  if (snapshots.length > 0) {
    yield { level, kind: "heading", text: "Snapshot list" };
    for (const text of snapshotTable(snapshots)) yield { level, kind: "row", text };
  }
  if (specific !== undefined) yield* specificPart(specific.data, level);
}

/** What only the image's format has, as lines of text; none if there is nothing. */
export function specificLines(data: SpecificData): string[] {
  return Array.from(specificPart(data, 0), plainLine);
}

function* specificPart(data: SpecificData, level: number): Generator<ReportLine> {
  if (orderedMembers(data).length === 0) return;
  yield { level, kind: "heading", text: "Format specific information" };
  yield* valueLines(data, level + 1);
}

function placeOf({ filename, fullFilename }: BackingReport): string {
  if (fullFilename === undefined) return " (cannot determine actual path)";
  return fullFilename === filename ? "" : ` (actual path: ${fullFilename})`;
}

function* valueLines(value: JsonValue, level: number): Generator<ReportLine> {
  if (typeof value !== "object") return;
  const entries: (readonly [string, JsonValue])[] = isList(value)
    ? value.map((item, index) => [`[${index}]`, item] as const)
    : orderedMembers(value).map(([name, member]) => [name.replaceAll("-", " "), member] as const);
  for (const [label, item] of entries) {
    if (typeof item === "object") {
      yield { level, kind: "heading", text: label };
      yield* valueLines(item, level + 1);
      continue;
    }
    const bytes = label === "granularity" && typeof item === "number" ? item : undefined;
    yield { level, kind: "value", label, value: String(item), bytes };
  }
}

function snapshotJson(snapshot: SnapshotInfo): JsonValue {
  return {
    id: snapshot.id,
    name: snapshot.name,
    "vm-state-size": snapshot.vmStateSize,
    "date-sec": snapshot.dateSeconds,
    "date-nsec": snapshot.dateNanoseconds,
    "vm-clock-sec": snapshot.vmClockNanoseconds / 1_000_000_000n,
    "vm-clock-nsec": snapshot.vmClockNanoseconds % 1_000_000_000n,
    icount: snapshot.icount,
  };
}
