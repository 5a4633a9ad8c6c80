/** Whether a file lies beside another one, links resolved. */
import fs from "node:fs";
import { hostError } from "../file/host-error.ts";
import { fromHostPath, hostPath } from "../file/host-path.ts";
import { directoryPrefix } from "./file-name.ts";

/**
 * True if the file that `path` leads to lies in the same directory as `from`. The directories are compared first, so that
 * nothing is learned about files elsewhere, not even that they exist.
 * @throws Qcow2Error "io" if a directory is not there
 */
export async function isInDirectoryOf(path: string, from: string): Promise<boolean> {
  const home = await realDirectory(from);
  if ((await realDirectory(path)) !== home) return false;
  const target = await realPath(path);
  return target === undefined || directoryPrefix(target) === directoryPrefix(`${home}/`);
}

async function realDirectory(path: string): Promise<string> {
  const directory = directoryPrefix(path) || ".";
  try {
    return await resolved(directory);
  } catch (error) {
    throw hostError(error, { operation: "open", name: path });
  }
}

/** Undefined if there is no such file; opening will say so. */
async function realPath(path: string): Promise<string | undefined> {
  try {
    return await resolved(path);
  } catch {
    return undefined;
  }
}

async function resolved(path: string): Promise<string> {
  return fromHostPath(await fs.promises.realpath(hostPath(path), "buffer"));
}
