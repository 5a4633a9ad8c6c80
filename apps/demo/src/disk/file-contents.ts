/** Contents like those on a real disk: some shrink well, some not at all, some are mostly zeroes. */
import type { Random } from "./random.ts";

const HOSTS = ["gateway", "db-1", "db-2", "mail", "build", "backup", "www"] as const;
const SERVICES = ["sshd", "kernel", "cron", "postgres", "nginx", "systemd", "dhclient"] as const;
const EVENTS = [
  "accepted connection from",
  "closed session for user",
  "checkpoint complete: wrote",
  "retrying request to",
  "link is up on",
  "finished job number",
] as const;
const WORDS =
  "the a disk image cluster table offset reads writes every guest host sector zero data copy table of in to and with at once".split(
    " ",
  );

/** A system log. */
export function logText(random: Random, length: number): Uint8Array {
  let second = 0;
  return textOf(length, () => {
    second += random.below(40);
    const clock = new Date(Date.UTC(2024, 2, 1) + second * 1000).toISOString();
    const address = `10.${random.below(4)}.${random.below(256)}.${random.below(256)}`;
    return `${clock} ${random.pick(HOSTS)} ${random.pick(SERVICES)}[${random.below(32768)}]: ${random.pick(EVENTS)} ${address}\n`;
  });
}

/** Measurements as comma-separated values. */
export function tableText(random: Random, length: number): Uint8Array {
  let row = 0;
  return textOf(length, () => {
    row++;
    return `${row},${random.pick(HOSTS)},${random.below(100000) / 1000},${random.below(100000) / 1000},${random.below(2)}\n`;
  });
}

/** Prose. */
export function proseText(random: Random, length: number): Uint8Array {
  return textOf(length, () => {
    const words = Array.from({ length: 8 + random.below(8) }, () => random.pick(WORDS));
    return `${words.join(" ")}.\n`;
  });
}

/** A database file: pages of 8 KiB, some never used, the used ones filled from both ends. */
export function databasePages(random: Random, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  const view = new DataView(bytes.buffer);
  for (let page = 0; page + 8192 <= length; page += 8192) {
    if (random.below(3) === 0) continue;
    const rows = 20 + random.below(60);
    view.setUint32(page, rows, true);
    for (let row = 0; row < rows; row++) {
      view.setUint16(page + 8 + row * 2, 8192 - row * 64, true);
      view.setUint32(page + 8192 - (row + 1) * 64, random.uint32(), true);
      view.setUint32(page + 8192 - (row + 1) * 64 + 8, row, true);
    }
  }
  return bytes;
}

function textOf(length: number, nextLine: () => string): Uint8Array {
  const lines: string[] = [];
  for (let total = 0; total < length; ) {
    const line = nextLine();
    lines.push(line);
    total += line.length;
  }
  return new TextEncoder().encode(lines.join("")).subarray(0, length);
}
