/**
 * Gives a finished file the name of the one that it replaces, if that one still has it. Where the host can, the two files
 * change places, so that what had the name by then is never lost: it is looked at afterwards, and put back if it is
 * another one. Elsewhere the name is looked at just before.
 */
import { Qcow2Error } from "@qcow2/core";
import { errnoName, errnoOf, hostError, ioError } from "../file/host-error.ts";
import type { Libc } from "../native/libc.ts";
import { CANNOT_RENAME_SO } from "./held-name.ts";
import type { TargetFolder } from "./target-folder.ts";

/** Each time, the name was given away and taken back between two looks at it. */
const MAX_ATTEMPTS = 20;

export interface Replacement {
  /** What messages call the target. */
  readonly target: string;
  readonly folder: TargetFolder;
  readonly name: string;
  /** The finished file's name in the same folder. */
  readonly temporary: string;
  /** What may be replaced. */
  readonly replaced: string;
  /** True if it has to be possible to take it back. */
  readonly revocable: boolean;
}

/** A name that was given, and with it what had the name before. */
export interface PutInPlace {
  /** Makes it undone: the finished file has its temporary name again. */
  takeBack(): void;
  /** Removes what was replaced. */
  finish(): void;
}

/** @throws Qcow2Error "io", and nothing has changed then */
export function putInPlace(replacement: Replacement, rename: Libc["rename"]): PutInPlace {
  for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
    const reason = rename === undefined ? "ENOSYS" : exchange(replacement, rename);
    if (typeof reason !== "string") return reason;
    if (CANNOT_RENAME_SO.has(reason)) return renameOver(replacement);
    if (reason !== "ENOENT") throw ioError(reason, { operation: "create", name: replacement.target });
    // Nothing has the name any more: nothing is lost by taking it. Or the finished file is gone, and its folder may be.
    const taken = takeFreeName(replacement, rename!);
    if (typeof taken !== "string") return taken;
    if (taken !== "EEXIST") throw ioError(taken, { operation: "create", name: replacement.target });
  }
  throw nameWasTaken(replacement.target);
}

/** The reason if nothing was done: "ENOENT". @throws Qcow2Error "io" if the name is another file's */
function exchange(
  { target, folder, name, temporary, replaced }: Replacement,
  rename: NonNullable<Libc["rename"]>,
): PutInPlace | string {
  const swap = (): number => rename(folder.at(temporary), folder.at(name), "exchange");
  const errno = swap();
  if (errno !== 0) return errnoName(-errno);
  if (folder.identityOf(temporary) !== replaced) {
    swap();
    throw nameWasTaken(target);
  }
  return {
    takeBack: () => void swap(),
    finish: () => folder.remove(temporary),
  };
}

/** The reason if nothing was done: "EEXIST" if it is not free, "ENOENT" if the finished file is gone. */
function takeFreeName(
  { folder, name, temporary }: Replacement,
  rename: NonNullable<Libc["rename"]>,
): PutInPlace | string {
  const errno = rename(folder.at(temporary), folder.at(name), "no-replace");
  if (errno !== 0) return errnoName(-errno);
  return {
    takeBack: () => void rename(folder.at(name), folder.at(temporary), "no-replace"),
    finish: () => undefined,
  };
}

function renameOver({ target, folder, name, temporary, replaced, revocable }: Replacement): PutInPlace {
  const current = folder.identityOf(name);
  if (current !== undefined && current !== replaced) throw nameWasTaken(target);
  const kept = revocable && current !== undefined ? keepUnder(folder, name, `${temporary}.old`) : undefined;
  const finish = (): void => {
    if (kept !== undefined) folder.remove(kept);
  };
  try {
    folder.rename(temporary, name);
  } catch (error) {
    finish();
    throw hostError(error, { operation: "create", name: target });
  }
  return {
    takeBack: () => {
      folder.rename(name, temporary);
      if (kept !== undefined) folder.rename(kept, name);
    },
    finish,
  };
}

/** A second name for what is to be replaced; undefined where the file system has no such thing. */
function keepUnder(folder: TargetFolder, name: string, second: string): string | undefined {
  try {
    folder.link(name, second);
    return second;
  } catch (error) {
    if (errnoOf(error) === undefined) throw error;
    return undefined;
  }
}

/** Of a name that belongs to another file than at the start, or of a file that somebody has written to since. */
export function nameWasTaken(name: string): Qcow2Error<"io"> {
  return new Qcow2Error("io", `'${name}' was changed or replaced by somebody else meanwhile`, {
    operation: "create",
    name,
    errno: "EBUSY",
  });
}
