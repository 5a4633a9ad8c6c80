import fs from "node:fs";
import { isQcow2Error, Qcow2Error } from "@qcow2/core";
import type { CacheMode } from "../file/cache-mode.ts";
import { FileStamp } from "../file/file-stamp.ts";
import { type FileHold, FileStorage } from "../file/file-storage.ts";
import { errnoOf } from "../file/host-error.ts";
import { loadLibc } from "../native/libc.ts";
import { type HeldName, holdName } from "./held-name.ts";
import { type InPlaceReason, inPlaceReason } from "./in-place-reason.ts";
import { keepAttributes } from "./keep-attributes.ts";
import { nameWasTaken, type PutInPlace, putInPlace } from "./put-in-place.ts";
import { temporaryName } from "./temporary-name.ts";
import { rememberUnfinished } from "./unfinished-files.ts";

/** Until its owner and permissions are those of the file it replaces, nobody else may read it. */
const PRIVATE_MODE = 0o600;

/** Reasons for which nothing can be created beside a file that can be written. */
const CANNOT_CREATE = new Set([
  "EACCES",
  "EPERM",
  "EROFS",
  "ENAMETOOLONG",
  "ENOSYS",
  "ENOTSUP",
  "EOPNOTSUPP",
]);

/** The file that takes the target's place. */
interface Replacing {
  /** In the target's folder. */
  readonly temporary: string;
  readonly hold: FileHold;
}

/**
 * A file that is replaced only when it is complete. It is written under a temporary name in the same directory;
 * {@link commit} gives it the target's name, and {@link abort} removes it. A process that ends without either removes it
 * too, unless it is killed.
 *
 * The name is owned meanwhile: what has it is locked, and where nothing has, an empty file takes it, so that others find
 * it in use. If it is another file's in the end, or somebody has written to it, that one stays.
 *
 * The owner, permissions and, on Linux with koffi, extended attributes and access control list of the file that is
 * replaced are kept where the host allows it. A symbolic link stays, and the file it names is replaced. What cannot or should not be replaced is
 * written in place: see {@link inPlaceReason}.
 */
export class TargetFile implements AsyncDisposable {
  /** The name that was asked for. */
  readonly path: string;
  /** Named in messages as the target is, not by its temporary name. It may have content: see {@link inPlace}. */
  readonly storage: FileStorage;
  /** Why it is written in place; undefined if it is replaced when it is complete. */
  readonly inPlaceReason: InPlaceReason | undefined;
  readonly #held: HeldName;
  readonly #replacing: Replacing | undefined;
  readonly #cache: CacheMode | undefined;
  readonly #forget: () => void;
  #state: "open" | "committed" | "aborted" = "open";

  private constructor(parts: {
    readonly path: string;
    readonly held: HeldName;
    readonly reason: InPlaceReason | undefined;
    readonly cache: CacheMode | undefined;
    readonly replacing?: (Replacing & { readonly storage: FileStorage }) | undefined;
  }) {
    this.path = parts.path;
    this.storage = parts.replacing?.storage ?? parts.held.storage;
    this.inPlaceReason = parts.reason;
    this.#held = parts.held;
    this.#replacing = parts.replacing;
    this.#cache = parts.cache;
    this.#forget = rememberUnfinished(() => this.#remove());
  }

  /**
   * Prepares `target`; what is there stays as it is until something is written to {@link storage}. With the cache mode
   * "unsafe", neither the content nor the name is made durable.
   * @throws Qcow2Error "io" (EISDIR for a directory, EACCES for a file that may not be written, ...), "locked",
   *   "unsupported" for what is neither a regular file nor a block device
   */
  static async create(
    target: string,
    { cache }: { readonly cache?: CacheMode | undefined } = {},
  ): Promise<TargetFile> {
    const held = await holdName(target, cache);
    const parts = { path: target, held, cache };
    try {
      const reason = inPlaceReason(held);
      if (reason !== undefined) return new TargetFile({ ...parts, reason });
      const replacing = await createBeside(held, { target, cache });
      return new TargetFile({
        ...parts,
        reason: replacing === undefined ? "folder" : undefined,
        replacing,
      });
    } catch (error) {
      removePlaceholder(held);
      await closeHeld(held);
      throw error;
    }
  }

  /**
   * As {@link commit} for targets that belong together: all of them get their names, or none does. (Those that are written
   * in place have their content already.)
   */
  static async commitAll(targets: readonly TargetFile[]): Promise<void> {
    for (const target of targets) target.#assertOpen();
    try {
      for (const target of targets) await target.#makeDurable();
      // Windows neither renames nor replaces what is open.
      if (process.platform === "win32") for (const target of targets) await target.#letGo();
    } catch (error) {
      for (const target of targets) await target.abort();
      throw error;
    }
    const rename = (await loadLibc())?.rename;
    const done: PutInPlace[] = [];
    try {
      // Without a pause: nothing of this process comes between.
      for (const target of targets) {
        const put = target.#putInPlace(rename, targets.length > 1);
        if (put !== undefined) done.push(put);
      }
    } catch (error) {
      for (const put of done.reverse()) ignoringHost(() => put.takeBack());
      const kept = targets.map((target) => target.#keepResult()).filter((name) => name !== undefined);
      for (const target of targets) {
        if (target.#state === "open") await target.abort();
        else await target.#close();
      }
      throw withResult(error, kept);
    }
    for (const target of targets) target.#state = "committed";
    try {
      for (const target of targets) await target.#flushName();
    } finally {
      for (const put of done) ignoringHost(() => put.finish());
      for (const target of targets) await target.#close();
    }
  }

  /** True if a failed attempt has already changed what is there: see {@link inPlaceReason}. */
  get inPlace(): boolean {
    return this.inPlaceReason !== undefined;
  }

  /** What is written to in the end, and what has the name now: what tells files apart whatever they are called. */
  get identities(): readonly string[] {
    return [this.storage.identity, this.#held.storage.identity];
  }

  /**
   * Makes the content durable, then gives it its name, durably too. The storage may have been closed before, and is
   * closed afterwards.
   *
   * If this fails, what was there before still is (but for what is written in place). Content that is complete and only
   * cannot get its name is kept under the temporary one, which the error tells. If all that fails is making the name
   * durable, the new content has it, and may lose it in a power cut.
   * @throws Qcow2Error "io"; with errno "EBUSY" if the name is another file's by now
   */
  async commit(): Promise<void> {
    await TargetFile.commitAll([this]);
  }

  /**
   * Removes what was written; what is written in place is left empty, for none to take it for an image. Does nothing after
   * a commit, and may be called twice.
   */
  async abort(): Promise<void> {
    if (this.#state !== "open") return;
    this.#state = "aborted";
    await this.storage.close();
    // Whoever takes it back has a reason to tell, which counts for more.
    ignoringHost(() => this.#remove());
    await this.#close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.abort();
  }

  async #makeDurable(): Promise<void> {
    if (this.#replacing !== undefined) {
      const extended = (await loadLibc())?.attributes;
      keepAttributes(this.#held.hold.fd, this.#replacing.hold.fd, { name: this.path, extended });
    }
    await (this.#replacing?.hold ?? this.#held.hold).flush();
    await this.storage.close();
  }

  #putInPlace(rename: Parameters<typeof putInPlace>[1], revocable: boolean): PutInPlace | undefined {
    const { place, stamp } = this.#held;
    if (this.#replacing === undefined || place === undefined) return undefined;
    if (isChanged(this.#held)) throw nameWasTaken(this.path);
    const { temporary } = this.#replacing;
    return putInPlace(
      { ...place, target: this.path, temporary, replaced: stamp.identity, revocable },
      rename,
    );
  }

  async #letGo(): Promise<void> {
    if (this.#replacing === undefined) return;
    if (isChanged(this.#held)) throw nameWasTaken(this.path);
    await this.#replacing.hold.release();
    await this.#held.storage.close();
    await this.#held.hold.release();
  }

  async #flushName(): Promise<void> {
    if (this.#replacing === undefined || this.#cache === "unsafe") return;
    await this.#held.place?.folder.flush(this.path);
  }

  /** Leaves the finished file where it is, and tells where. */
  #keepResult(): string | undefined {
    const { place } = this.#held;
    if (this.#replacing === undefined || place === undefined) return undefined;
    // Somebody may have removed it, or the folder.
    if (place.folder.identityOf(this.#replacing.temporary) !== this.storage.identity) return undefined;
    removePlaceholder(this.#held);
    this.#forget();
    this.#state = "committed";
    return place.folder.prefix + this.#replacing.temporary;
  }

  /** Takes back what there is of it, when the process ends, too. */
  #remove(): void {
    const { place, hold, storage } = this.#held;
    if (this.#replacing !== undefined && place !== undefined) {
      place.folder.remove(this.#replacing.temporary);
      removePlaceholder(this.#held);
    } else if (storage.kind === "file" && isChanged(this.#held)) {
      fs.ftruncateSync(hold.fd, 0);
    }
  }

  async #close(): Promise<void> {
    this.#forget();
    await this.storage.close();
    await this.#replacing?.hold.release();
    await closeHeld(this.#held);
  }

  #assertOpen(): void {
    if (this.#state === "open") return;
    throw new Qcow2Error("closed", `The target '${this.path}' is already ${this.#state}`, {
      name: this.path,
    });
  }
}

/** The file that is to take the place of the one that is held; undefined if none can be made beside it. */
async function createBeside(
  { place }: HeldName,
  { target, cache }: { readonly target: string; readonly cache: CacheMode | undefined },
): Promise<(Replacing & { readonly storage: FileStorage }) | undefined> {
  if (place === undefined) return undefined;
  const temporary = await temporaryName();
  try {
    const storage = await FileStorage.open(place.folder.at(temporary), {
      create: true,
      exclusive: true,
      keepsName: false,
      name: target,
      cache,
      mode: PRIVATE_MODE,
    });
    return { temporary, storage, hold: storage.hold() };
  } catch (error) {
    if (isQcow2Error(error, "io") && CANNOT_CREATE.has(error.data.errno ?? "")) return undefined;
    throw error;
  }
}

/** What took the name while there was nothing else goes, if it has the name still and nobody has used it. */
function removePlaceholder(held: HeldName): void {
  const { isPlaceholder, place, stamp } = held;
  if (!isPlaceholder || place?.folder.identityOf(place.name) !== stamp.identity || isChanged(held)) return;
  place.folder.remove(place.name);
}

/** True if the file was written to since it is held. */
function isChanged({ hold, stamp, place }: HeldName): boolean {
  try {
    return !FileStamp.of(hold.fd).hasContentOf(stamp);
  } catch (error) {
    // On Windows, where it was let go of.
    if (errnoOf(error) === "EBADF") return place === undefined;
    throw error;
  }
}

async function closeHeld({ storage, hold, place }: HeldName): Promise<void> {
  await storage.close();
  await hold.release();
  place?.folder.close();
}

function ignoringHost(work: () => void): void {
  try {
    work();
  } catch (error) {
    if (errnoOf(error) === undefined && !isQcow2Error(error, "io")) throw error;
  }
}

/** The same error, saying where the result is. */
function withResult(error: unknown, kept: readonly string[]): unknown {
  if (!isQcow2Error(error, "io") || kept.length === 0) return error;
  const names = kept.map((name) => `'${name}'`).join(" and ");
  const message = `${error.message}; the finished result is in ${names}`;
  return new Qcow2Error("io", message, error.data, { cause: error });
}
