import { statfs } from "node:fs/promises";
import { cpus, loadavg, release, totalmem, type } from "node:os";
import type { Machine } from "../results.ts";

/** Of statfs(2). */
const FILE_SYSTEMS: Readonly<Record<number, string>> = {
  61267: "ext4",
  1481003842: "xfs",
  2435016766: "btrfs",
  801189825: "zfs",
  16914836: "tmpfs",
  2035054128: "overlayfs",
};

/** @param folder where disks are read and written */
export async function describeMachine(folder: string): Promise<Machine> {
  const processors = cpus();
  const { type: magic } = await statfs(folder);
  return {
    processor: processors[0]?.model.trim() ?? "unknown",
    processors: processors.length,
    memoryBytes: totalmem(),
    system: `${type()} ${release().split("-")[0]}`,
    fileSystem: FILE_SYSTEMS[magic] ?? `type 0x${magic.toString(16)}`,
    loadBefore: process.platform === "win32" ? undefined : loadavg()[0],
  };
}
