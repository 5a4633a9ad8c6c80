/** Where a target's bytes go: through symbolic links, to the file that the last one names, existing or not. */
import fs from "node:fs";
import path from "node:path";
import { errnoOf, hostError, ioError } from "../file/host-error.ts";
import { fromHostPath, hostPath } from "../file/host-path.ts";

/** As many as Linux follows. */
const MAX_LINKS = 40;

/**
 * The path with every link in its last component followed, so that a rename replaces the file and not the link.
 * @throws Qcow2Error "io"
 */
export async function followLinks(target: string): Promise<string> {
  let current = target;
  for (let links = 0; links <= MAX_LINKS; links++) {
    const destination = await readLink(current, target);
    if (destination === undefined) return current;
    current = path.resolve(path.dirname(current), destination);
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
