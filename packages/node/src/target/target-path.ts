/** Where a target's bytes go: through symbolic links, to the file that the last one names, existing or not. */
import fs from "node:fs";
import { errnoOf, hostError, ioError } from "../file/host-error.ts";
import { fromHostPath, hostPath } from "../file/host-path.ts";
import { directoryPrefix, isAbsolutePath } from "../references/file-name.ts";

/** As many as Linux follows. */
const MAX_LINKS = 40;

/** What statfs calls the file system of /proc. */
const PROC_SUPER_MAGIC = 0x9fa0;

export interface TargetPath {
  /** The path with every link in its last component followed, so that a rename replaces the file and not the link. */
  readonly path: string;
  /** True if a link was followed. */
  readonly isLink: boolean;
  /** True for the name of a descriptor ("/dev/fd/3"): whoever has it open waits for the bytes there, and not for another file. */
  readonly isDescriptor: boolean;
}

/** @throws Qcow2Error "io" */
export async function followLinks(target: string): Promise<TargetPath> {
  let current = target;
  let isDescriptor = process.platform === "darwin" && /^\/dev\/fd\/\d+$/.test(target);
  for (let links = 0; links <= MAX_LINKS; links++) {
    const destination = await readLink(current, target);
    if (destination === undefined) return { path: current, isLink: links > 0, isDescriptor };
    const directory = directoryPrefix(current);
    isDescriptor ||= await isOfProcesses(directory);
    // Not tidied up: behind a link to a directory, ".." is not where the text says.
    current = isAbsolutePath(destination) ? destination : directory + destination;
  }
  throw ioError("ELOOP", { operation: "create", name: target });
}

/** What the link says; undefined if `current` is no link, or nothing at all. */
async function readLink(current: string, target: string): Promise<string | undefined> {
  try {
    return fromHostPath(await fs.promises.readlink(hostPath(current), "buffer"));
  } catch (error) {
    const errno = errnoOf(error);
    // EINVAL: not a link. UNKNOWN: the same, on Windows.
    if (errno === "EINVAL" || errno === "ENOENT" || errno === "UNKNOWN") return undefined;
    throw hostError(error, { operation: "create", name: target });
  }
}

/** A link there names what a process has open; the text it shows may be that of a file that is gone. */
async function isOfProcesses(directory: string): Promise<boolean> {
  if (process.platform !== "linux") return false;
  try {
    return (await fs.promises.statfs(hostPath(directory || "."))).type === PROC_SUPER_MAGIC;
  } catch {
    return false;
  }
}
