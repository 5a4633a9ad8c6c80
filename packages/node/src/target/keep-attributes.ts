/** Owner and permissions of the file that is replaced, for the one that takes its place. */
import fs from "node:fs";
import { errnoOf, hostError } from "../file/host-error.ts";
import { FileStamp } from "./file-stamp.ts";

const PERMISSION_BITS = 0o777;

/** By descriptors, whatever names mean by then. What the host does not let us give away stays ours. @throws Qcow2Error "io" */
export function keepAttributes(from: number, to: number, name: string): void {
  if (process.platform === "win32") return;
  try {
    const { owner, group, mode } = FileStamp.of(from);
    changeOwner(to, owner, group);
    // Only where it differs: file systems without permissions refuse to change them.
    if ((FileStamp.of(to).mode & PERMISSION_BITS) !== (mode & PERMISSION_BITS)) {
      fs.fchmodSync(to, mode & PERMISSION_BITS);
    }
  } catch (error) {
    throw hostError(error, { operation: "set the permissions of", name });
  }
}

function changeOwner(file: number, owner: number, group: number): void {
  const now = FileStamp.of(file);
  if (now.owner === owner && now.group === group) return;
  try {
    fs.fchownSync(file, owner, group);
  } catch (error) {
    if (errnoOf(error) !== "EPERM") throw error;
    try {
      fs.fchownSync(file, now.owner, group);
    } catch (second) {
      if (errnoOf(second) !== "EPERM") throw second;
    }
  }
}
