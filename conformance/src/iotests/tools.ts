/** The programs that a script is given: QEMU's own or ours, and stand-ins for those that it must not need. */
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { OUR_BIN } from "../ours.ts";
import type { QemuRelease, QemuTool } from "../qemu-release.ts";

/** Which programs are ours; the others are QEMU's. */
export type Pass = "reference" | "img" | "io";

/** The environment variables by which scripts find their programs. */
export type ToolPaths = Readonly<Record<(typeof VARIABLES)[number], string>>;

const VARIABLES = ["QEMU_IMG_PROG", "QEMU_IO_PROG", "QEMU_NBD_PROG", "QEMU_PROG", "QSD_PROG"] as const;

/** Where a stand-in notes that it was called. */
export const ASKED_FOR_VARIABLE = "QCOW2_IOTESTS_ASKED_FOR";

/** The programs of every pass, in a folder of their own. Use it with `using`. */
export class Toolbox implements Disposable {
  readonly release: QemuRelease;
  readonly #folder = mkdtempSync(join(tmpdir(), "iotests-tools-"));
  readonly #paths = new Map<Pass, ToolPaths>();

  constructor(release: QemuRelease) {
    this.release = release;
  }

  paths(pass: Pass): ToolPaths {
    const known = this.#paths.get(pass) ?? prepareTools(join(this.#folder, pass), pass, this.release);
    this.#paths.set(pass, known);
    return known;
  }

  [Symbol.dispose](): void {
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

/** Puts the programs of a pass into `folder`, which is made. */
function prepareTools(folder: string, pass: Pass, release: QemuRelease): ToolPaths {
  mkdirSync(folder, { recursive: true });
  const theirs = (tool: QemuTool): string => {
    const words = release.command(tool).map(quoted).join(" ");
    return writeScript(join(folder, tool), `exec ${words} "$@"\n`);
  };
  const ours = (tool: QemuTool): string => {
    const link = join(folder, tool);
    symlinkSync(OUR_BIN, link);
    return link;
  };
  const standIn = (program: string): string =>
    writeScript(join(folder, program), standInFor(program, release));
  return {
    QEMU_IMG_PROG: pass === "reference" ? theirs("qemu-img") : ours("qemu-img"),
    QEMU_IO_PROG: pass === "io" ? ours("qemu-io") : theirs("qemu-io"),
    QEMU_NBD_PROG: standIn("qemu-nbd"),
    QEMU_PROG: standIn("qemu-system"),
    QSD_PROG: standIn("qemu-storage-daemon"),
  };
}

/**
 * Notes that it was called, and fails. Two questions that many scripts ask only to learn whether they can run are
 * answered: the default machine (there is none), and the drivers (those that QEMU's tools have, too).
 */
function standInFor(program: string, release: QemuRelease): string {
  const help = [...release.command("qemu-img"), "--help"].map(quoted).join(" ");
  return `case "$*" in
  "-machine help") exit 0 ;;
  *format=help*)
    drivers=$(${help} | sed '1,/^Supported image formats:/d; /^[^ ]/d' | tr '\\n' ' ')
    printf 'Supported formats: %s\\nSupported formats (read-only): %s\\n' "$drivers" "$drivers"
    exit 0 ;;
esac
echo ${program} >> "$${ASKED_FOR_VARIABLE}"
exit 1
`;
}

function writeScript(path: string, body: string): string {
  writeFileSync(path, `#!/bin/sh\n${body}`, { mode: 0o755 });
  return path;
}

function quoted(word: string): string {
  return `'${word.replaceAll("'", "'\\''")}'`;
}
