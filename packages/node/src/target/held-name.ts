/**
 * The name of a target, owned from the start: what is there is opened and locked as QEMU would, and where nothing is, an
 * empty file takes the name. Whoever comes meanwhile finds it in use.
 */
import fs from "node:fs";
import path from "node:path";
import { isQcow2Error } from "@qcow2/core";
import type { CacheMode } from "../file/cache-mode.ts";
import { FileStamp } from "../file/file-stamp.ts";
import { type FileHold, FileStorage } from "../file/file-storage.ts";
import { errnoName, errnoOf, hostError, ioError } from "../file/host-error.ts";
import { hostPath } from "../file/host-path.ts";
import { type Libc, loadLibc } from "../native/libc.ts";
import { fileIdentity } from "../references/file-identity.ts";
import { directoryPrefix } from "../references/file-name.ts";
import { TargetFolder } from "./target-folder.ts";
import { followLinks, type TargetPath } from "./target-path.ts";
import { temporaryName } from "./temporary-name.ts";

/** Each time, somebody else was quicker with the same name. */
const MAX_ATTEMPTS = 20;

/** Reasons for which a file system does not rename as asked for. */
export const CANNOT_RENAME_SO: ReadonlySet<string> = new Set(["EINVAL", "ENOSYS", "ENOTSUP", "EOPNOTSUPP"]);

export interface HeldName {
  /** Open for writing. Whoever writes to it may close it. */
  readonly storage: FileStorage;
  /** Keeps it open and locked. */
  readonly hold: FileHold;
  /** What was there, to see whether it still is. */
  readonly stamp: FileStamp;
  /** True if nothing was there: the file is empty, and goes when the target does not come about. */
  readonly isPlaceholder: boolean;
  /** Where the name is; undefined for what has none that could be given to another file: devices and descriptors. */
  readonly place: { readonly folder: TargetFolder; readonly name: string } | undefined;
}

/** @throws Qcow2Error "io", "locked", "unsupported" */
export async function holdName(target: string, cache: CacheMode | undefined): Promise<HeldName> {
  refuseDirectoryName(target);
  for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
    const isLast = attempt === MAX_ATTEMPTS - 1;
    const held = (await exists(target))
      ? await holdExisting(target, { cache, isLast })
      : await holdNew(target, await followLinks(target), cache);
    if (held !== undefined) return held;
  }
  throw ioError("EBUSY", { operation: "create", name: target });
}

/** "name/" can only be a directory, and must not create "name". */
function refuseDirectoryName(target: string): void {
  if (target === "") throw ioError("ENOENT", { operation: "create", name: target });
  if (directoryPrefix(target) === target) throw ioError("EISDIR", { operation: "create", name: target });
}

async function exists(target: string): Promise<boolean> {
  try {
    await fs.promises.stat(hostPath(target));
    return true;
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return false;
    throw hostError(error, { operation: "create", name: target });
  }
}

/**
 * Undefined if the name is another file's by now. In the last attempt, rather a file system that numbers its files anew
 * whenever they are looked at: nothing can be known of names there.
 */
async function holdExisting(
  target: string,
  { cache, isLast }: { readonly cache: CacheMode | undefined; readonly isLast: boolean },
): Promise<HeldName | undefined> {
  // The kernel is told that a file may be created: it has rules for that in directories that are everybody's.
  const storage = await FileStorage.open(target, { create: true, keepsName: false, name: target, cache });
  const hold = storage.hold();
  let folder: TargetFolder | undefined;
  try {
    const stamp = FileStamp.of(hold.fd);
    const held = { storage, hold, stamp, isPlaceholder: false };
    if (storage.kind === "block-device") return { ...held, place: undefined };
    const { path: file, isDescriptor } = await followLinks(target);
    if (isDescriptor) return { ...held, place: undefined };
    folder = TargetFolder.open(file, target);
    const name = path.basename(file);
    if (folder.identityOf(name) === storage.identity) return { ...held, place: { folder, name } };
    if (isLast) {
      folder.close();
      return { ...held, place: undefined };
    }
  } catch (error) {
    await closeAll(storage, hold, folder);
    throw error;
  }
  await closeAll(storage, hold, folder);
  return undefined;
}

async function closeAll(
  storage: FileStorage,
  hold: FileHold,
  folder: TargetFolder | undefined,
): Promise<void> {
  folder?.close();
  await storage.close();
  await hold.release();
}

/** Undefined if the name is another file's by now. */
async function holdNew(
  target: string,
  { path: file, isLink }: TargetPath,
  cache: CacheMode | undefined,
): Promise<HeldName | undefined> {
  refuseDirectoryName(file);
  const folder = TargetFolder.open(file, target);
  const name = path.basename(file);
  try {
    const storage = await createLocked(folder, { name, target, cache });
    if (storage !== undefined) {
      // A link that somebody else has put there meanwhile may be one that the kernel does not follow.
      const isThere = folder.identityOf(name) === storage.identity;
      const isRightThere = isThere && (!isLink || (await fileIdentity(target)) === storage.identity);
      if (isRightThere) {
        const hold = storage.hold();
        const stamp = FileStamp.of(hold.fd);
        return { storage, hold, stamp, isPlaceholder: true, place: { folder, name } };
      }
      if (isThere) folder.remove(name);
      await storage.close();
    }
  } catch (error) {
    folder.close();
    throw error;
  }
  folder.close();
  return undefined;
}

interface NewName {
  readonly name: string;
  readonly target: string;
  readonly cache: CacheMode | undefined;
}

/** An empty file that has its locks before it has its name; undefined if the name is taken. */
async function createLocked(folder: TargetFolder, wanted: NewName): Promise<FileStorage | undefined> {
  const { name, target } = wanted;
  const rename = (await loadLibc())?.rename;
  if (rename === undefined) return await createThere(folder, wanted);
  const temporary = await temporaryName();
  const storage = await createThere(folder, { ...wanted, name: temporary });
  if (storage === undefined) return undefined;
  const reason = giveName(rename, folder, { from: temporary, to: name });
  if (reason === undefined) return storage;
  folder.remove(temporary);
  await storage.close();
  if (reason === "EEXIST") return undefined;
  if (CANNOT_RENAME_SO.has(reason)) return await createThere(folder, wanted);
  throw ioError(reason, { operation: "create", name: target });
}

/** Undefined if it worked, else the reason: "EEXIST". */
function giveName(
  rename: NonNullable<Libc["rename"]>,
  folder: TargetFolder,
  { from, to }: { readonly from: string; readonly to: string },
): string | undefined {
  const errno = rename(folder.at(from), folder.at(to), "no-replace");
  return errno === 0 ? undefined : errnoName(-errno);
}

async function createThere(
  folder: TargetFolder,
  { name, target, cache }: NewName,
): Promise<FileStorage | undefined> {
  const options = { create: true, exclusive: true, keepsName: false, name: target, cache } as const;
  try {
    return await FileStorage.open(folder.at(name), options);
  } catch (error) {
    if (isQcow2Error(error, "io") && error.data.errno === "EEXIST") return undefined;
    throw error;
  }
}
