import {
  type BackingReference,
  type Codecs,
  type DataFileReference,
  type Disk,
  type OpenOptions,
  Qcow2Error,
  type References,
  type Storage,
} from "@qcow2/core";
import type { CacheMode } from "../file/cache-mode.ts";
import { FileStorage } from "../file/file-storage.ts";
import type { DiskFiles } from "../open/disk-files.ts";
import type { BackingOverride, RawSharing } from "../open/image-place.ts";
import { type ImageTuning, openFileDisk } from "../open/open-file-disk.ts";
import { fileIdentity } from "./file-identity.ts";
import { resolveBackingName, resolveDataFileName } from "./file-name.ts";
import { isInDirectoryOf } from "./same-directory.ts";

/**
 * Which files an image may lead to: "any" local file; only files that lie in the same directory as the image that
 * names them, links resolved; or "none".
 */
export type FollowReferences = "any" | "same-directory" | "none";

export interface FileReferencesOptions extends RawSharing {
  /** Default "any", as in QEMU. Use "same-directory" or "none" for images that you do not trust. */
  readonly follow?: FollowReferences | undefined;
  /**
   * If the image does not record its backing file's format, look at the file's first bytes. Default false: whoever
   * may write to a raw backing file could make it look like an image that refers to any file of the host.
   */
  readonly probeBacking?: boolean | undefined;
  /** See {@link FileStorageOptions.forceShare}; for the backing files. */
  readonly forceShare?: boolean | undefined;
  readonly codecs?: Codecs | undefined;
  /** The backing file so many layers below the image is opened for writing; 1 is the image's own. Default: none is. */
  readonly writableBacking?: number | undefined;
  /** How that one is worked on. */
  readonly image?: ImageTuning | undefined;
  /** For all files that are opened. Default "writeback". */
  readonly cache?: CacheMode | undefined;
}

/**
 * The policy that opens local files. Backing files are opened read-only, but for `writableBacking`. Names with a protocol ("nbd:", "json:") are
 * refused, except for a plain "file:"; so are chains that come back to a file that is already part of them.
 */
export function fileReferences(options: FileReferencesOptions = {}): References {
  return new FileReferences(options);
}

/** What is read in place of what the image says that a policy belongs to. */
type Override = Pick<BackingOverride, "backing" | "dataFile">;

interface Shared extends FileReferencesOptions {
  /** All files of the disk that the references belong to. */
  readonly files?: DiskFiles | undefined;
}

interface Layer {
  /** The files above the image that the policy belongs to, by identity. */
  readonly above?: readonly string[];
  /** How many layers below the first image that one is. */
  readonly depth?: number;
  readonly override?: Override;
}

/** See {@link fileReferences}; besides, what was named by whoever opens the image, and not by the image. */
export class FileReferences implements References {
  readonly #options: Shared;
  readonly #above: readonly string[];
  readonly #depth: number;
  readonly #override: Override;

  constructor(options: Shared, { above = [], depth = 0, override = {} }: Layer = {}) {
    this.#options = options;
    this.#above = above;
    this.#depth = depth;
    this.#override = override;
  }

  /** What `Qcow2Image.open` is to open as the backing disk of the image at `from`, if that is not for the image to say. */
  backingOf(from: string): OpenOptions["backing"] {
    const { backing } = this.#override;
    if (backing === undefined || backing === "none") return backing;
    const { path, format } = backing;
    return path === undefined ? undefined : () => this.#openBacking({ path, format, name: path, from });
  }

  async openBackingFile({ name, format, from }: BackingReference): Promise<Disk> {
    const path = resolveBackingName(name, from);
    await this.#assertAllowed("backing", name, path, from);
    const { backing } = this.#override;
    const given = typeof backing === "object" ? backing.format : undefined;
    return await this.#openBacking({ path, format: given ?? format, name, from });
  }

  async openDataFile({ name, from, readOnly }: DataFileReference): Promise<Storage> {
    const path = this.#override.dataFile ?? resolveDataFileName(name);
    if (this.#override.dataFile === undefined) await this.#assertAllowed("data", name, path, from);
    await assertNotIn(await this.#chainDownTo(from), path, name);
    await this.#assertApart(path, { name, readOnly });
    const { forceShare, allowWriters, cache } = this.#options;
    const storage = await FileStorage.open(path, {
      readOnly,
      forceShare: readOnly && (forceShare === true || allowWriters === true),
      cache,
    });
    try {
      this.#options.files?.add(storage);
    } catch (error) {
      await storage.close();
      throw error;
    }
    return storage;
  }

  async #openBacking({
    path,
    format,
    name,
    from,
  }: BackingReference & { readonly path: string }): Promise<Disk> {
    const above = await this.#chainDownTo(from);
    await assertNotIn(above, path, name);
    const {
      probeBacking = false,
      writableBacking,
      image,
      forceShare,
      allowWriters,
      codecs,
      cache,
    } = this.#options;
    if (format === undefined && !probeBacking) {
      const message = `The image does not record the format of its backing file '${name}', and guessing is not allowed`;
      throw new Qcow2Error("backing-format-missing", message, { name });
    }
    const { backing } = this.#override;
    const override = typeof backing === "object" ? backing : {};
    const depth = this.#depth + 1;
    const references = new FileReferences(this.#options, { above, depth, override });
    const readOnly = depth !== writableBacking;
    await this.#assertApart(path, { name, readOnly });
    return openFileDisk({
      files: this.#options.files,
      forceShare,
      allowWriters,
      codecs,
      cache,
      path,
      format,
      range: override.range,
      locking: override.locking,
      readOnly,
      image: depth === writableBacking ? image : undefined,
      references,
      backing: references.backingOf(path),
    });
  }

  /** Asked of the names first: opening such a file would only say that it is locked. */
  async #assertApart(
    path: string,
    { name, readOnly }: { readonly name: string; readonly readOnly: boolean },
  ): Promise<void> {
    const identity = await fileIdentity(path);
    if (identity !== undefined) this.#options.files?.assertApart({ name, identity, readOnly });
  }

  async #chainDownTo(from: string): Promise<readonly string[]> {
    const identity = await fileIdentity(from);
    return identity === undefined ? this.#above : [...this.#above, identity];
  }

  async #assertAllowed(kind: "backing" | "data", name: string, path: string, from: string): Promise<void> {
    const { follow = "any" } = this.#options;
    if (follow === "any") return;
    if (follow === "same-directory" && (await isInDirectoryOf(path, from))) return;
    const where = follow === "none" ? "which is not allowed here" : "which does not lie beside it";
    const message = `The image '${from}' refers to a ${kind} file '${name}', ${where}`;
    throw new Qcow2Error("reference-denied", message, { kind, name });
  }
}

async function assertNotIn(chain: readonly string[], path: string, name: string): Promise<void> {
  const identity = await fileIdentity(path);
  if (identity === undefined || !chain.includes(identity)) return;
  throw new Qcow2Error(
    "reference-loop",
    `The image refers to '${name}', which is already part of its own chain`,
    {
      name,
    },
  );
}
