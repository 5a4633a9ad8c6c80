/**
 * Files that the kernel makes up: reading one asks the system for something, writing one tells it something. An image that
 * names such a file would have its user's secrets copied (`/proc/self/environ`), or memory written (`/proc/self/mem`).
 */
import fs from "node:fs";
import { Qcow2Error } from "@qcow2/core";
import { hostPath } from "./host-path.ts";

/** File systems of the kernel, by what statfs calls them (Linux: `linux/magic.h`). */
const KERNEL_FILE_SYSTEMS: ReadonlyMap<number, string> = new Map([
  [0x9fa0, "proc"],
  [0x62656572, "sysfs"],
  [0x64626720, "debugfs"],
  [0x74726163, "tracefs"],
  [0x73636673, "securityfs"],
  [0x62656570, "configfs"],
  [0x27e0eb, "cgroup"],
  [0x63677270, "cgroup2"],
  [0xcafe4a11, "bpf"],
  [0xde5e81e4, "efivarfs"],
  [0x6165676c, "pstore"],
  [0xf97cff8c, "selinuxfs"],
  [0x43415d53, "smackfs"],
  [0x42494e4d, "binfmt_misc"],
  [0x6e736673, "nsfs"],
]);

/**
 * Asked of the path before it is opened, and of the descriptor afterwards, for what the path meant in between.
 * @throws Qcow2Error "unsupported"
 */
export async function refuseKernelFile(file: string | number, name: string): Promise<void> {
  if (process.platform !== "linux") return;
  const path = typeof file === "number" ? `/proc/self/fd/${file}` : file;
  const kind = KERNEL_FILE_SYSTEMS.get(await fileSystemOf(path));
  if (kind === undefined) return;
  throw new Qcow2Error("unsupported", `'${name}' is a file of the kernel's (${kind}), which is no storage`, {
    operation: "open a file that the kernel makes up",
  });
}

/** What statfs calls it; 0 if it cannot be asked, as where /proc is not mounted. */
function fileSystemOf(path: string): Promise<number> {
  return new Promise((resolve) => {
    fs.statfs(hostPath(path), (error, found) => resolve(error === null ? found.type : 0));
  });
}
