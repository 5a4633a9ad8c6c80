/** Which images depend on another one as their backing file. */
import { isQcow2Error, readBackingName } from "@qcow2/core";
import { FileStorage } from "../file/file-storage.ts";
import { fileIdentity } from "./file-identity.ts";
import { joinPath, resolveBackingName } from "./file-name.ts";
import { isJsonBackingName, pathsInJsonName } from "./json-backing-name.ts";
import { listFolder } from "./list-folder.ts";

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
      const file = joinPath(directory, name);
      const identity = await fileIdentity(file);
      if (identity === undefined || seen.has(identity)) continue;
      seen.add(identity);
      if (await leadsTo(wanted, await backingPathsOf(file))) found.push(file);
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
    const entries = await listFolder(directory || ".");
    return entries.filter(({ isFileOrLink }) => isFileOrLink).map(({ name }) => name);
  } catch {
    return [];
  }
}

async function leadsTo(wanted: ReadonlySet<string>, paths: readonly string[]): Promise<boolean> {
  const identities = await identitiesOf(paths);
  return [...identities].some((identity) => wanted.has(identity));
}

/** What the image reads by its header, also by a name that this library does not open: QEMU does. */
async function backingPathsOf(file: string): Promise<readonly string[]> {
  const name = await backingNameIn(file);
  if (name === undefined) return [];
  if (isJsonBackingName(name)) return pathsInJsonName(name, file);
  const path = pathOf(name, file);
  return path === undefined ? [] : [path];
}

/**
 * The path of the backing file that an image's header names; undefined for none, for what is no qcow2 image or cannot be
 * read, and for a name that is not one of a local file. Nothing but the header is read.
 */
export async function backingPathOf(file: string): Promise<string | undefined> {
  const name = await backingNameIn(file);
  return name === undefined ? undefined : pathOf(name, file);
}

async function backingNameIn(file: string): Promise<string | undefined> {
  try {
    await using storage = await FileStorage.open(file, { readOnly: true, forceShare: true });
    return await readBackingName(storage);
  } catch (error) {
    if (isQcow2Error(error)) return undefined;
    throw error;
  }
}

function pathOf(name: string, from: string): string | undefined {
  try {
    return resolveBackingName(name, from);
  } catch (error) {
    if (isQcow2Error(error)) return undefined;
    throw error;
  }
}
