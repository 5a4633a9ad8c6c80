import { readFile } from "node:fs/promises";
import type { ProgramName } from "../program.ts";

/** The QEMU release whose options and output this command follows; what scripts that parse the version look for. */
const FOLLOWED_QEMU_VERSION = "10.0.0";

/** The answer to `--version`. */
export async function versionText(program: ProgramName): Promise<string> {
  const manifest: { version: string } = JSON.parse(
    await readFile(new URL("../../package.json", import.meta.url), "utf8"),
  );
  const own = `qcow2 ${manifest.version}`;
  if (program !== "qcow2") return `${program} version ${FOLLOWED_QEMU_VERSION} (${own})\n`;
  return `qcow2 version ${manifest.version} (compatible with qemu-img ${FOLLOWED_QEMU_VERSION})\n`;
}
