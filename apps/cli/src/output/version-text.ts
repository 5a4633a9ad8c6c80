import { readFile } from "node:fs/promises";
import type { ProgramName } from "../program.ts";

/** The QEMU release whose options and output this command follows; what scripts that parse the version look for. */
const FOLLOWED_QEMU_VERSION = "10.0.0";

/** The answer to `--version`. */
export async function versionText(program: ProgramName): Promise<string> {
  const version = await ownVersion();
  if (program !== "qcow2") return `${program} version ${FOLLOWED_QEMU_VERSION} (qcow2 ${version})\n`;
  return `qcow2 version ${version} (compatible with qemu-img ${FOLLOWED_QEMU_VERSION})\n`;
}

export async function ownVersion(): Promise<string> {
  const manifest: { readonly version: string } = JSON.parse(
    await readFile(new URL("../../package.json", import.meta.url), "utf8"),
  );
  return manifest.version;
}
