import fs from "node:fs";
import path from "node:path";
import { isQcow2Error, Qcow2Error } from "@qcow2/core";
import type { CacheMode } from "../file/cache-mode.ts";
import { FileStorage } from "../file/file-storage.ts";
import { errnoOf, hostError, ioError } from "../file/host-error.ts";
import { hostPath } from "../file/host-path.ts";
import { followLinks } from "./target-path.ts";
import { forgetUnfinished, rememberUnfinished } from "./unfinished-files.ts";

/** Until its owner and permissions are those of the file it replaces, nobody else may read it. */
const PRIVATE_MODE = 0o600;
const PERMISSION_BITS = 0o777;

/**
 * A file that appears under its name only when it is complete. It is written under a temporary name in the same
 * directory; {@link commit} renames it, replacing what was there, and {@link abort} removes it. A process that ends
 * without either removes it too, unless it is killed.
 *
 * The file that is to be replaced stays locked meanwhile, so that no running QEMU loses its disk. Its owner and
 * permissions are kept where the host allows it; its hard links, ACLs and extended attributes are not. A symbolic link
 * stays, and the file it names is replaced. A block device is written in place.
 */
export class TargetFile implements AsyncDisposable {
  /** The name that was asked for. */
  readonly path: string;
  /** Named in messages as the target is, not by its temporary name. */
  readonly storage: FileStorage;
  readonly #finalPath: string;
  /** Undefined for a block device. */
  readonly #temporaryPath: string | undefined;
  /** The regular file to be replaced, held open for its locks. */
  readonly #replaced: FileStorage | undefined;
  readonly #cache: CacheMode | undefined;
  #state: "open" | "committed" | "aborted" = "open";

  private constructor(parts: {
    readonly path: string;
    readonly storage: FileStorage;
    readonly finalPath: string;
    readonly temporaryPath: string | undefined;
    readonly replaced: FileStorage | undefined;
    readonly cache: CacheMode | undefined;
  }) {
    this.path = parts.path;
    this.storage = parts.storage;
    this.#finalPath = parts.finalPath;
    this.#temporaryPath = parts.temporaryPath;
    this.#replaced = parts.replaced;
    this.#cache = parts.cache;
  }

  /**
   * Prepares `target`; nothing under that name changes. With the cache mode "unsafe", neither the content nor the name
   * is made durable.
   * @throws Qcow2Error "io" (EISDIR for a directory, EACCES for a file that may not be written, ...), "locked",
   *   "unsupported" for what is neither a regular file nor a block device
   */
  static async create(
    target: string,
    { cache }: { readonly cache?: CacheMode | undefined } = {},
  ): Promise<TargetFile> {
    const finalPath = await followLinks(target);
    const replaced = await openExisting(finalPath, { name: target, cache });
    if (replaced?.kind === "block-device") {
      return new TargetFile({
        path: target,
        storage: replaced,
        finalPath,
        temporaryPath: undefined,
        replaced: undefined,
        cache,
      });
    }
    // Hidden, short enough beside any name, and told apart from others by chance alone.
    // Loaded only where a file is made, because it takes longer to load than many a command takes.
    const { randomBytes } = await import("node:crypto");
    const temporaryName = `.qcow2-${randomBytes(8).toString("hex")}.part`;
    const temporaryPath = path.join(path.dirname(finalPath), temporaryName);
    try {
      const mode = replaced === undefined ? {} : { mode: PRIVATE_MODE };
      const storage = await FileStorage.open(temporaryPath, {
        create: true,
        exclusive: true,
        name: target,
        cache,
        ...mode,
      });
      rememberUnfinished(temporaryPath);
      return new TargetFile({ path: target, storage, finalPath, temporaryPath, replaced, cache });
    } catch (error) {
      await replaced?.close();
      throw error;
    }
  }

  /** True if a failed attempt has already changed what is there: the target is a block device. */
  get inPlace(): boolean {
    return this.#temporaryPath === undefined;
  }

  /**
   * Makes the content durable, then gives it its name, durably too. The storage may have been closed before, and is
   * closed afterwards. If this fails, what was there before still is, and the new content is gone.
   * @throws Qcow2Error "io"
   */
  async commit(): Promise<void> {
    this.#assertOpen();
    try {
      await this.#makeDurable();
      if (this.#temporaryPath !== undefined) await this.#rename(this.#temporaryPath);
    } catch (error) {
      await this.abort();
      throw error;
    }
    this.#state = "committed";
    await this.#replaced?.close();
    if (!this.inPlace && this.#cache !== "unsafe") {
      await flushDirectory(path.dirname(this.#finalPath), this.path);
    }
  }

  /** Removes what was written. Does nothing after a commit, and may be called twice. */
  async abort(): Promise<void> {
    if (this.#state !== "open") return;
    this.#state = "aborted";
    await this.storage.close();
    if (this.#temporaryPath !== undefined) {
      await fs.promises.rm(hostPath(this.#temporaryPath), { force: true });
      forgetUnfinished(this.#temporaryPath);
    }
    await this.#replaced?.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.abort();
  }

  async #makeDurable(): Promise<void> {
    if (this.#temporaryPath !== undefined && this.#replaced !== undefined) {
      await keepAttributes(this.#finalPath, this.#temporaryPath, this.path);
    }
    const isClosed = this.storage.closed;
    const storage = isClosed
      ? await FileStorage.open(this.#temporaryPath ?? this.#finalPath, {
          name: this.path,
          cache: this.#cache,
        })
      : this.storage;
    try {
      await storage.flushAttributes();
    } finally {
      await storage.close();
    }
  }

  async #rename(temporaryPath: string): Promise<void> {
    // Windows does not replace a file that is open.
    if (process.platform === "win32") await this.#replaced?.close();
    try {
      await fs.promises.rename(hostPath(temporaryPath), hostPath(this.#finalPath));
    } catch (error) {
      throw hostError(error, { operation: "create", name: this.path });
    }
    forgetUnfinished(temporaryPath);
  }

  #assertOpen(): void {
    if (this.#state === "open") return;
    throw new Qcow2Error("closed", `The target '${this.path}' is already ${this.#state}`, {
      name: this.path,
    });
  }
}

/** What is at `finalPath` already, opened for writing as QEMU would to overwrite it; undefined if nothing is. */
async function openExisting(
  finalPath: string,
  { name, cache }: { readonly name: string; readonly cache: CacheMode | undefined },
): Promise<FileStorage | undefined> {
  // "name/" can only be a directory, and must not create "name".
  if (finalPath.endsWith("/") || finalPath.endsWith(path.sep)) {
    throw ioError("EISDIR", { operation: "create", name });
  }
  try {
    return await FileStorage.open(finalPath, { name, cache });
  } catch (error) {
    if (isQcow2Error(error, "io") && error.data.errno === "ENOENT") return undefined;
    if (isQcow2Error(error, "io") && error.data.errno === "EISDIR") {
      throw ioError("EISDIR", { operation: "create", name });
    }
    throw error;
  }
}

/** Owner and permissions of the replaced file; what the host does not let us give away stays ours. */
async function keepAttributes(from: string, to: string, name: string): Promise<void> {
  if (process.platform === "win32") return;
  try {
    const { uid, gid, mode } = await fs.promises.stat(hostPath(from));
    await changeOwner(to, uid, gid);
    await fs.promises.chmod(hostPath(to), mode & PERMISSION_BITS);
  } catch (error) {
    throw hostError(error, { operation: "set the permissions of", name });
  }
}

async function changeOwner(file: string, uid: number, gid: number): Promise<void> {
  const now = await fs.promises.stat(hostPath(file));
  if (now.uid === uid && now.gid === gid) return;
  try {
    await fs.promises.chown(hostPath(file), uid, gid);
  } catch (error) {
    if (errnoOf(error) !== "EPERM") throw error;
    await fs.promises.chown(hostPath(file), now.uid, gid).catch(ignorePermission);
  }
}

function ignorePermission(error: unknown): void {
  if (errnoOf(error) !== "EPERM") throw error;
}

/** A rename survives a power cut once its directory is on the disk. Windows has no such call, and needs none. */
async function flushDirectory(directory: string, name: string): Promise<void> {
  if (process.platform === "win32") return;
  try {
    const handle = await fs.promises.open(hostPath(directory), "r");
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
  } catch (error) {
    // Some file systems do not flush directories at all.
    if (errnoOf(error) === "EINVAL" || errnoOf(error) === "ENOTSUP") return;
    throw hostError(error, { operation: "flush the directory of", name });
  }
}
