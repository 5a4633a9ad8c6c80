/** Gathers the images of some files, and the backing files below them, each file once whatever it is called. */
import { isQcow2Error, type Qcow2Error } from "@qcow2/core";
import { resolveBackingName, resolveDataFileName } from "../references/file-name.ts";
import type { FollowReferences } from "../references/file-references.ts";
import { isInDirectoryOf } from "../references/same-directory.ts";
import type { CheckOutcome } from "./check-images.ts";
import type { FoundFile } from "./find-files.ts";
import { forEach } from "./for-each.ts";
import { type Content, type FileFacts, fileFacts, lookInto, NOTHING, rawContent } from "./look-at-file.ts";

/** Files that are looked at at the same time: enough to keep the host's threads busy, few enough for any limit on open files. */
const FILES_AT_ONCE = 16;

/** Why nothing is known about what a file holds. */
export interface Absence {
  readonly reason: "missing" | "unreadable" | "not-followed";
  readonly error: Qcow2Error | undefined;
}

/** An image while more is being learned about it. */
export interface CollectedImage {
  readonly path: string;
  readonly otherPaths: string[];
  readonly isListed: boolean;
  readonly isNamed: boolean;
  readonly facts: FileFacts | undefined;
  absence: Absence | undefined;
  content: Content;
  backing: CollectedImage | undefined;
  dataFile: DataFile | undefined;
  check: CheckOutcome | undefined;
}

export interface DataFile {
  /** As the image names it. */
  readonly name: string;
  readonly facts: FileFacts | undefined;
  readonly absence: Absence | undefined;
}

/** Looks at `files`, and at the files that they lead to as far as `follow` allows. */
export async function collectImages(
  files: readonly FoundFile[],
  follow: FollowReferences,
): Promise<readonly CollectedImage[]> {
  const collection = new Collection(follow);
  let next = await collection.addFiles(files);
  while (next.length > 0) {
    await forEach(next, FILES_AT_ONCE, (image) => collection.look(image));
    next = await collection.addBackingFilesOf(next);
  }
  return collection.images;
}

class Collection {
  readonly images: CollectedImage[] = [];
  readonly #follow: FollowReferences;
  /** By path as it was met, and by what tells files apart. */
  readonly #byPath = new Map<string, CollectedImage>();
  readonly #byIdentity = new Map<string, CollectedImage>();
  /** Apart from the others: what one image may not lead to, another one may. */
  readonly #notFollowed = new Map<string, CollectedImage>();
  /** Formats that overlays record for files that are not listed. */
  readonly #recorded = new Map<CollectedImage, Set<string | undefined>>();

  constructor(follow: FollowReferences) {
    this.#follow = follow;
  }

  /** The files that have not been met before. */
  async addFiles(files: readonly FoundFile[]): Promise<CollectedImage[]> {
    const known = new Map<FoundFile, FileFacts | Absence>();
    await forEach(files, FILES_AT_ONCE, async (file) => {
      known.set(file, await factsOrAbsence(file.path));
    });
    // In the order of the list, so that it does not depend on which answer came first.
    return files.flatMap((file) => {
      const found = known.get(file)!;
      return this.#add(file.path, found, { isListed: true, isNamed: file.isNamed }).isNew;
    });
  }

  /** Reads what the file holds, unless nothing but its name can be known, or an overlay says that it is raw. */
  async look(image: CollectedImage): Promise<void> {
    const { path, facts, isListed, isNamed } = image;
    if (facts === undefined || image.absence !== undefined) return;
    if (facts.kind === "block-device" && !isNamed) {
      // Opening a device can make it do something: only the user may ask for that.
      image.absence = { reason: "not-followed", error: undefined };
      return;
    }
    const recorded = this.#recorded.get(image);
    const isRaw = !isListed && recorded !== undefined && [...recorded].every((format) => format === "raw");
    image.content = isRaw ? rawContent(facts.size) : await lookInto(path, facts);
    image.dataFile = await this.#dataFileOf(image);
  }

  /** Finds the backing files of `images`; those that have to be looked at are returned. */
  async addBackingFilesOf(images: readonly CollectedImage[]): Promise<CollectedImage[]> {
    const found = new Map<CollectedImage, Target>();
    await forEach(images, FILES_AT_ONCE, async (image) => {
      const name = image.content.backingName;
      if (name !== undefined) found.set(image, await this.#targetOf(name, image.path));
    });
    const toLookAt = new Set<CollectedImage>();
    for (const image of images) {
      const target = found.get(image);
      if (target === undefined) continue;
      const { image: backing, isNew } = this.#add(target.path, target.found, {
        isListed: false,
        isNamed: false,
      });
      image.backing = backing;
      if (backing.isListed) continue;
      const recorded = this.#recorded.get(backing) ?? new Set();
      const wasRaw = [...recorded].every((format) => format === "raw");
      recorded.add(image.content.info?.backingFormat);
      this.#recorded.set(backing, recorded);
      const isRaw = [...recorded].every((format) => format === "raw");
      if (isNew.length > 0 || (wasRaw && !isRaw)) toLookAt.add(backing);
    }
    return [...toLookAt];
  }

  /** The image at `path`, which may be one that is known by another path. */
  #add(
    path: string,
    found: FileFacts | Absence,
    options: Pick<CollectedImage, "isListed" | "isNamed">,
  ): { readonly image: CollectedImage; readonly isNew: readonly CollectedImage[] } {
    const [facts, absence] = isAbsence(found) ? [undefined, found] : [found, undefined];
    const byPath = absence?.reason === "not-followed" ? this.#notFollowed : this.#byPath;
    const known = byPath.get(path) ?? this.#byIdentity.get(facts?.identity ?? "");
    if (known !== undefined) {
      if (options.isListed && known.path !== path) known.otherPaths.push(path);
      return { image: known, isNew: [] };
    }
    const image: CollectedImage = {
      ...options,
      path,
      otherPaths: [],
      facts,
      absence,
      content: NOTHING,
      backing: undefined,
      dataFile: undefined,
      check: undefined,
    };
    this.images.push(image);
    byPath.set(path, image);
    if (facts !== undefined) this.#byIdentity.set(facts.identity, image);
    return { image, isNew: [image] };
  }

  async #targetOf(name: string, from: string): Promise<Target> {
    let path: string;
    try {
      path = resolveBackingName(name, from);
    } catch (error) {
      return { path: name, found: notFollowed(error) };
    }
    const known = this.#byPath.get(path);
    if (known !== undefined) return { path, found: known.facts ?? known.absence! };
    return { path, found: await this.#lookFor(path, from) };
  }

  async #dataFileOf({ path: from, content: { info } }: CollectedImage): Promise<DataFile | undefined> {
    const name = info?.dataFile;
    if (name === undefined) return undefined;
    try {
      const found = await this.#lookFor(resolveDataFileName(name), from);
      return isAbsence(found)
        ? { name, facts: undefined, absence: found }
        : { name, facts: found, absence: undefined };
    } catch (error) {
      return { name, facts: undefined, absence: notFollowed(error) };
    }
  }

  /** What is at a path that the image `from` names. */
  async #lookFor(path: string, from: string): Promise<FileFacts | Absence> {
    if (this.#follow === "any") return await factsOrAbsence(path);
    if (this.#follow === "none") return { reason: "not-followed", error: undefined };
    try {
      if (await isInDirectoryOf(path, from)) return await factsOrAbsence(path);
      return { reason: "not-followed", error: undefined };
    } catch (error) {
      return notFollowed(error);
    }
  }
}

interface Target {
  readonly path: string;
  readonly found: FileFacts | Absence;
}

function isAbsence(found: FileFacts | Absence): found is Absence {
  return "reason" in found;
}

function notFollowed(error: unknown): Absence {
  if (!isQcow2Error(error)) throw error;
  return { reason: "not-followed", error };
}

async function factsOrAbsence(path: string): Promise<FileFacts | Absence> {
  try {
    return await fileFacts(path);
  } catch (error) {
    if (!isQcow2Error(error, "io")) throw error;
    const isMissing = error.data.errno === "ENOENT" || error.data.errno === "ENOTDIR";
    return { reason: isMissing ? "missing" : "unreadable", error };
  }
}
