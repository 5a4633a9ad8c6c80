import manifest from "../../package.json" with { type: "json" };

/** The QEMU release whose options and output this command follows; what scripts that parse the version look for. */
const FOLLOWED_QEMU_VERSION = "10.0.0";

/**
 * The answer to `--version`, by our own name, too: scripts read the first line from its start on, or the third word, and
 * act upon it.
 */
export function versionText(program: "qemu-img" | "qemu-io"): string {
  return `${program} version ${FOLLOWED_QEMU_VERSION} (qcow2 ${ownVersion()})\n`;
}

export function ownVersion(): string {
  return manifest.version;
}
