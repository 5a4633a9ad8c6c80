import manifest from "../../package.json" with { type: "json" };
import type { ProgramName } from "../program.ts";

/** The QEMU release whose options and output this command follows; what scripts that parse the version look for. */
const FOLLOWED_QEMU_VERSION = "10.0.0";

/** The answer to `--version`. */
export function versionText(program: ProgramName): string {
  const version = ownVersion();
  if (program !== "qcow2") return `${program} version ${FOLLOWED_QEMU_VERSION} (qcow2 ${version})\n`;
  return `qcow2 version ${version} (compatible with qemu-img ${FOLLOWED_QEMU_VERSION})\n`;
}

export function ownVersion(): string {
  return manifest.version;
}
