import type { SnapshotInfo } from "@qcow2/core";
import { padLeft, padRight } from "./columns.ts";
import { humanSize } from "./human-size.ts";

/** The lines of the table that `info` prints, its heading first. */
export function snapshotTable(snapshots: readonly SnapshotInfo[]): string[] {
  const heading = row("ID", "TAG", "VM_SIZE", "DATE", "VM_CLOCK", "ICOUNT");
  return [
    heading,
    ...snapshots.map((snapshot) =>
      row(
        snapshot.id,
        snapshot.name,
        humanSize(snapshot.vmStateSize),
        localDate(snapshot.dateSeconds),
        clock(snapshot.vmClockNanoseconds),
        snapshot.icount === undefined ? "--" : String(snapshot.icount),
      ),
    ),
  ];
}

function row(id: string, tag: string, size: string, date: string, vmClock: string, icount: string): string {
  return [
    padRight(id, 7),
    padRight(tag, 16),
    padLeft(size, 8),
    padLeft(date, 19),
    padLeft(vmClock, 15),
    padLeft(icount, 10),
  ].join(" ");
}

function localDate(seconds: number): string {
  const date = new Date(seconds * 1000);
  const day = [date.getFullYear(), two(date.getMonth() + 1), two(date.getDate())].join("-");
  return `${day} ${[date.getHours(), date.getMinutes(), date.getSeconds()].map(two).join(":")}`;
}

function clock(nanoseconds: bigint): string {
  const milliseconds = nanoseconds / 1_000_000n;
  const seconds = milliseconds / 1000n;
  const hours = String(seconds / 3600n).padStart(4, "0");
  const rest = [(seconds / 60n) % 60n, seconds % 60n].map(two).join(":");
  return `${hours}:${rest}.${String(milliseconds % 1000n).padStart(3, "0")}`;
}

function two(value: number | bigint): string {
  return String(value).padStart(2, "0");
}
