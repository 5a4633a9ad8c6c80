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

/** Text for people; nodes below the first are indented, and called by what they are: a file, not a disk. */
export function reportText(report: ImageReport, depth = 0, path = "/"): string {
  const lines = nodeLines(report, depth > 0 && report.children.length === 0);
  let text = lines.map((line) => `${"    ".repeat(depth)}${line}\n`).join("");
  for (const { name, report: child } of report.children) {
    text += `${"    ".repeat(depth)}Child node '${path}${name}':\n`;
    text += reportText(child, depth + 1, `${path}${name}/`);
  }
  return text;
}

function nodeLines(report: ImageReport, isStorage: boolean): string[] {
  const { actualSize, backing, clusterSize, snapshots = [], specific } = report;
  const size = `${humanSize(report.virtualSize)} (${report.virtualSize} bytes)`;
  const lines = [
    `${isStorage ? "filename" : "image"}: ${report.filename}`,
    `${isStorage ? "protocol type" : "file format"}: ${report.format}`,
    `${isStorage ? "file length" : "virtual size"}: ${size}`,
    `disk size: ${actualSize === undefined ? "unavailable" : humanSize(actualSize)}`,
  ];
  if (report.encrypted === true) lines.push("encrypted: yes");
  if (clusterSize !== undefined) lines.push(`cluster_size: ${clusterSize}`);
  if (report.dirty === true) lines.push("cleanly shut down: no");
  if (backing !== undefined) lines.push(...backingLines(backing));
  if (snapshots.length > 0) lines.push("Snapshot list:", ...snapshotTable(snapshots));
  if (specific !== undefined) lines.push(...specificLines(specific.data));
  return lines;
}

/** The lines about what only the image's format has; none if there is nothing. */
export function specificLines(data: SpecificData): string[] {
  return orderedMembers(data).length === 0 ? [] : ["Format specific information:", ...valueLines(data, 1)];
}

function backingLines({ filename, fullFilename, format }: BackingReport): string[] {
  let place = "";
  if (fullFilename === undefined) place = " (cannot determine actual path)";
  else if (fullFilename !== filename) place = ` (actual path: ${fullFilename})`;
  const lines = [`backing file: ${filename}${place}`];
  if (format !== undefined) lines.push(`backing file format: ${format}`);
  return lines;
}

function valueLines(value: JsonValue, depth: number): string[] {
  if (typeof value !== "object") return [];
  const entries: (readonly [string, JsonValue])[] = isList(value)
    ? value.map((item, index) => [`[${index}]`, item] as const)
    : orderedMembers(value).map(([name, member]) => [name.replaceAll("-", " "), member] as const);
  return entries.flatMap(([label, item]) => {
    const start = `${"    ".repeat(depth)}${label}:`;
    return typeof item === "object" ? [start, ...valueLines(item, depth + 1)] : [`${start} ${String(item)}`];
  });
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
