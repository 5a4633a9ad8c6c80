/** Under which name the command was called; it is in front of every message. */
import path from "node:path";

export type ProgramName = "qcow2" | "qemu-img" | "qemu-io";

/** `qemu-img` or `qemu-io` if called through a link (or a copy) of that name, else `qcow2`. */
export function programName(scriptPath: string | undefined): ProgramName {
  const name = path.basename(scriptPath ?? "").replace(/\.(exe|[cm]?js)$/i, "");
  return name === "qemu-img" || name === "qemu-io" ? name : "qcow2";
}
