/** Which images depend on another one as their backing file. */
import fs from "node:fs";
import path from "node:path";
import { isQcow2Error, readBackingName } from "@qcow2/core";
import { FileStorage } from "../file/file-storage.ts";
import { fileIdentity } from "./file-identity.ts";
import { resolveBackingName } from "./file-name.ts";

export interface FindOverlaysOptions {
  /** Paths of the images that are looked for as backing files. */
  readonly of: readonly string[];
  /** Paths of the directories whose files are looked at; directories within them are not. */
  readonly directories: readonly string[];
  /** Paths of images that do not count. */
  readonly except?: readonly string[] | undefined;
}

/**
 * The paths of the qcow2 images that name one of `of` as their backing file, as far as they lie in `directories`. Only
 * headers are read. What cannot be read is passed over: the answer is a warning, and its absence no promise.
 */
export async function findOverlays({ of, directories, except = [] }: FindOverlaysOptions): Promise<string[]> {
  const wanted = await identitiesOf(of);
  const seen = new Set([...wanted, ...(await identitiesOf(except))]);
  const found: string[] = [];
  for (const directory of directories) {
    for (const name of await fileNamesIn(directory)) {
      const file = path.join(directory, name);
      const identity = await fileIdentity(file);
      if (identity === undefined || seen.has(identity)) continue;
      seen.add(identity);
      const backing = await backingIdentityOf(file);
      if (backing !== undefined && wanted.has(backing)) found.push(file);
    }
  }
  return found;
}

async function identitiesOf(paths: readonly string[]): Promise<Set<string>> {
  const identities = await Promise.all(paths.map((file) => fileIdentity(file)));
  return new Set(identities.filter((identity) => identity !== undefined));
}

async function fileNamesIn(directory: string): Promise<string[]> {
  try {
    const entries = await fs.promises.readdir(directory || ".", { withFileTypes: true });
    return entries.filter((entry) => entry.isFile() || entry.isSymbolicLink()).map(({ name }) => name);
  } catch {
    return [];
  }
}

async function backingIdentityOf(file: string): Promise<string | undefined> {
  const backing = await backingPathOf(file);
  return backing === undefined ? undefined : await fileIdentity(backing);
}

/**
 * The path of the backing file that an image's header names; undefined for none, for what is no qcow2 image or cannot be
 * read, and for a name that is not one of a local file. Nothing but the header is read.
 */
export async function backingPathOf(file: string): Promise<string | undefined> {
  try {
    await using storage = await FileStorage.open(file, { readOnly: true, forceShare: true });
    const name = await readBackingName(storage);
    return name === undefined ? undefined : resolveBackingName(name, file);
  } catch (error) {
    if (isQcow2Error(error)) return undefined;
    throw error;
  }
}
