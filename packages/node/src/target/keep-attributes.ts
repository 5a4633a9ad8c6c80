/** Owner, permissions and extended attributes of the file that is replaced, for the one that takes its place. */
import fs from "node:fs";
import { FileStamp } from "../file/file-stamp.ts";
import { errnoOf, hostError } from "../file/host-error.ts";
import type { ExtendedAttributes } from "../native/extended-attributes.ts";

const PERMISSION_BITS = 0o777;
const GROUP_BITS = 0o070;

/** EINVAL: in a user namespace, the owner is nobody who has a number there. */
const MAY_NOT_GIVE_AWAY: ReadonlySet<string> = new Set(["EPERM", "EINVAL"]);

/** What the host says of the content, and takes away or finds wrong when that changes. */
const OF_THE_CONTENT: ReadonlySet<string> = new Set(["security.ima", "security.evm", "security.capability"]);

/** With it, the permissions of the group that `stat` shows are the most that anybody in the list has. */
const ACCESS_LIST = "system.posix_acl_access";

export interface KeepAttributesOptions {
  /** What messages call the file. */
  readonly name: string;
  /** Undefined where the host has none that we can ask for. */
  readonly extended: ExtendedAttributes | undefined;
}

/**
 * By descriptors, whatever names mean by then. What the host does not let us give away stays ours, and what it does not let
 * us set is left out; never may somebody do more with the new file because of that.
 * @throws Qcow2Error "io"
 */
export function keepAttributes(from: number, to: number, { name, extended }: KeepAttributesOptions): void {
  if (process.platform === "win32") return;
  try {
    const { owner, group, mode } = FileStamp.of(from);
    changeOwner(to, owner, group);
    const hasList = extended === undefined || keepExtended(from, to, extended);
    const wanted = mode & PERMISSION_BITS & (hasList ? PERMISSION_BITS : ~GROUP_BITS);
    // Only where it differs: file systems without permissions refuse to change them.
    if ((FileStamp.of(to).mode & PERMISSION_BITS) !== wanted) fs.fchmodSync(to, wanted);
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
    if (!MAY_NOT_GIVE_AWAY.has(errnoOf(error) ?? "")) throw error;
    try {
      fs.fchownSync(file, now.owner, group);
    } catch (second) {
      if (!MAY_NOT_GIVE_AWAY.has(errnoOf(second) ?? "")) throw second;
    }
  }
}

/** False if the access control list could not be kept. One that the new file has from its folder goes. */
function keepExtended(from: number, to: number, extended: ExtendedAttributes): boolean {
  const wanted = extended.list(from).filter((name) => !OF_THE_CONTENT.has(name));
  if (!wanted.includes(ACCESS_LIST)) extended.remove(to, ACCESS_LIST);
  let keepsList = true;
  for (const name of wanted) {
    const value = extended.get(from, name);
    const isSet = value !== undefined && extended.set(to, name, value) === 0;
    if (!isSet && name === ACCESS_LIST) keepsList = false;
  }
  return keepsList;
}
