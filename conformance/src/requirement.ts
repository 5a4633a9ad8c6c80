/** What conformance cases need from the machine, and whether it has it. */
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { OUR_BIN } from "./ours.ts";
import { findQemuReleases, type QemuRelease, REFERENCE_MINOR } from "./qemu-release.ts";

const HOW_TO_GET_QEMU = "run node conformance/scripts/install-qemu.mjs, or install qemu-utils";

/** The QEMU tools present. */
export interface Judges {
  /** QEMU 10.0: ours must answer as it does. */
  readonly reference: QemuRelease;
  /** Every release present, the reference included, newest first. */
  readonly all: readonly QemuRelease[];
}

export interface Requirement {
  /** Default "reference": QEMU 10.0. "any": some release, of whatever version. */
  readonly qemu?: "reference" | "any";
  /** Programs that must be on PATH. */
  readonly programs?: readonly string[];
  /** zstd compression in this Node.js. */
  readonly zstdCompression?: boolean;
  /** Default: any platform. */
  readonly platform?: NodeJS.Platform;
}

/** @returns what is missing and how to get it, or undefined */
export async function missingFor(requirement: Requirement): Promise<string | undefined> {
  const releases = await findQemuReleases();
  if (releases.length === 0) return `no QEMU tools (${HOW_TO_GET_QEMU})`;
  if (requirement.qemu !== "any" && !releases.some(({ minor }) => minor === REFERENCE_MINOR)) {
    return `no QEMU ${REFERENCE_MINOR} (${HOW_TO_GET_QEMU})`;
  }
  if (requirement.platform !== undefined && requirement.platform !== process.platform) {
    return `needs ${requirement.platform}, this is ${process.platform}`;
  }
  const program = requirement.programs?.find((name) => spawnSync(name, ["--version"]).error !== undefined);
  if (program !== undefined) return `no ${program} on PATH`;
  if (requirement.zstdCompression === true && !(await canCompressZstd())) {
    return `Node.js ${process.versions.node} cannot compress zstd (22.15 and newer can)`;
  }
  if (!existsSync(OUR_BIN)) return "the command is not built (npm run build)";
  return undefined;
}

export async function canCompressZstd(): Promise<boolean> {
  return "zstdCompressSync" in (await import("node:zlib"));
}
