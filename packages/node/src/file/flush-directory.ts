import fs from "node:fs";
import { errnoOf, hostError } from "./host-error.ts";
import { hostPath } from "./host-path.ts";

/**
 * Reasons for which a directory is not flushed: the file system flushes none, we may use but not read it, or it is gone
 * and with it the names in it.
 */
const CANNOT_FLUSH = new Set(["EINVAL", "ENOTSUP", "EOPNOTSUPP", "EACCES", "EPERM", "EBADF", "ENOENT"]);

/**
 * Makes the names in a directory durable: a file that was created or renamed survives a power cut under its name only once
 * its directory is on the disk. Windows has no such call, and needs none. `name` is what messages call the file.
 * @throws Qcow2Error "io"
 */
export async function flushDirectory(directory: string | number, name: string): Promise<void> {
  if (process.platform === "win32") return;
  try {
    const fd = typeof directory === "number" ? directory : fs.openSync(hostPath(directory), "r");
    try {
      await new Promise<void>((resolve, reject) => {
        fs.fsync(fd, (error) => (error === null ? resolve() : reject(error)));
      });
    } finally {
      if (fd !== directory) fs.closeSync(fd);
    }
  } catch (error) {
    if (CANNOT_FLUSH.has(errnoOf(error) ?? "")) return;
    throw hostError(error, { operation: "flush the directory of", name });
  }
}
