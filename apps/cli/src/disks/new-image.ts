/**
 * New images. Each is built under a temporary name beside its final one and appears under the final name only when
 * it is complete; what was there before stays until then. What cannot be replaced is written in place.
 */
import {
  type Codecs,
  type Disk,
  denyReferences,
  MemoryStorage,
  Qcow2Image,
  RawDisk,
  type References,
  type WritableDisk,
} from "@qcow2/core";
import { type CacheMode, fileIdentity, resolveDataFileName, TargetFile } from "@qcow2/node";
import { CommandError } from "../errors/command-errors.ts";
import type { CreationOptions } from "../options/creation-options.ts";
import { imageOptionsOf, preallocationOf } from "../options/qcow2-options.ts";
import { keepOutputOutOf } from "../output/own-descriptors.ts";
import { assertApart } from "./layers.ts";

export interface NewImageRequest {
  readonly path: string;
  /** Virtual size, bytes. */
  readonly size: number;
  readonly options: CreationOptions;
  /** Disks that are read meanwhile: none of their files may be one that is made. */
  readonly reads?: readonly ReadMeanwhile[] | undefined;
  /** Told before anything is changed if one of the files does not come about in one step. */
  readonly onInPlace?: ((target: TargetFile) => void) | undefined;
  /** For reading the backing file while clusters are written in part. */
  readonly references?: References | undefined;
  readonly codecs?: Codecs | undefined;
  readonly cache?: CacheMode | undefined;
}

export interface ReadMeanwhile {
  readonly disk: Disk;
  /** What it is, as in "The target is ...": "the source image". */
  readonly role: string;
}

/** An image under construction. Exactly one of {@link commit} and {@link abort} ends it. */
export interface NewImage {
  readonly disk: WritableDisk;
  /** False if the disk has content that no one knows, as a block device has. */
  readonly isZero: boolean;
  /** Makes the image durable and gives it its final name. */
  commit(): Promise<void>;
  /** Removes what was written. */
  abort(): Promise<void>;
}

/** @throws CommandError, Qcow2Error; nothing is left behind then. */
export async function createImage(request: NewImageRequest): Promise<NewImage> {
  checkNewImage(request);
  const targets: TargetFile[] = [];
  const openTarget = async (path: string): Promise<TargetFile> => {
    const identity = await fileIdentity(path);
    if (targets.some(({ identities }) => identity !== undefined && identities.includes(identity))) {
      throw new CommandError("The image and its data file are the same file");
    }
    const target = await TargetFile.create(path, { cache: request.cache });
    targets.push(target);
    keepOutputOutOf(target.identities.map((identity) => ({ identity, readOnly: false })));
    for (const { disk, role } of request.reads ?? []) assertApart(disk, target.identities, role);
    assertPreallocates(target, request.options);
    if (target.inPlace) request.onInPlace?.(target);
    return target;
  };
  try {
    const disk = await (request.options.format === "qcow2"
      ? createQcow2(request, openTarget)
      : createRaw(request, openTarget));
    return new PendingImage(disk, targets);
  } catch (error) {
    for (const target of targets) await target.abort();
    throw error;
  }
}

/** The files that a new image is made of. */
export function newFilesOf({ path, options }: Pick<NewImageRequest, "path" | "options">): string[] {
  const dataFile = options.text("data_file");
  return dataFile === undefined ? [path] : [path, resolveDataFileName(dataFile)];
}

/** @throws CommandError for options that cannot be, before anything is touched. */
export function checkNewImage({ options }: Pick<NewImageRequest, "options">): void {
  if (options.has("backing_fmt") && !options.has("backing_file")) {
    throw new CommandError("Backing format cannot be used without backing file");
  }
  if (options.format === "qcow2") {
    imageOptionsOf(options);
    if (options.switch("data_file_raw") === true && !options.has("data_file")) {
      throw new CommandError("data-file-raw requires data-file");
    }
  } else if (preallocationOf(options) === "metadata") {
    throw new CommandError("Unsupported preallocation mode 'metadata'");
  }
}

/** As QEMU: what a device has is all there, and need not be reserved. @throws CommandError */
function assertPreallocates({ storage }: TargetFile, options: CreationOptions): void {
  if (storage.kind === "file" || preallocationOf(options) !== "falloc") return;
  throw new CommandError("Preallocation mode 'falloc' unsupported for this non-regular file");
}

type OpenTarget = (path: string) => Promise<TargetFile>;

async function createQcow2(request: NewImageRequest, openTarget: OpenTarget): Promise<WritableDisk> {
  const { path, size, options, references, codecs } = request;
  const backingName = options.text("backing_file");
  const dataFileName = options.text("data_file");
  const dataTarget =
    dataFileName === undefined ? undefined : await openTarget(resolveDataFileName(dataFileName));
  const target = await openTarget(path);
  return await Qcow2Image.create({
    ...imageOptionsOf(options),
    storage: target.storage,
    size,
    references: references ?? NO_BACKING_DATA,
    codecs,
    backingFile:
      backingName === undefined ? undefined : { name: backingName, format: options.text("backing_fmt") },
    dataFile:
      dataFileName === undefined || dataTarget === undefined
        ? undefined
        : { name: dataFileName, storage: dataTarget.storage, raw: options.switch("data_file_raw") },
  });
}

/** An image that stays empty reads nothing from its backing file, which need not even exist. */
const NO_BACKING_DATA: References = {
  ...denyReferences(),
  openBackingFile: async () => await RawDisk.open({ storage: new MemoryStorage({ readOnly: true }) }),
};

async function createRaw(
  { path, size, options }: NewImageRequest,
  openTarget: OpenTarget,
): Promise<WritableDisk> {
  const { storage } = await openTarget(path);
  // What is written in place has content.
  if ((await storage.size()) > 0) await storage.truncate(0);
  const fileSize = Math.ceil(size / SECTOR_BYTES) * SECTOR_BYTES;
  await storage.truncate(fileSize);
  const preallocation = preallocationOf(options);
  if (preallocation === "falloc") {
    if (storage.allocate === undefined)
      throw new CommandError("Reserving space (falloc) is not supported here");
    await storage.allocate(0, fileSize);
  }
  const disk = await RawDisk.open({ storage });
  if (preallocation === "full") await disk.writeZeroes({ offset: 0, length: disk.size });
  return disk;
}

/** Disks have whole sectors, in raw images too. */
const SECTOR_BYTES = 512;

class PendingImage implements NewImage {
  readonly disk: WritableDisk;
  readonly isZero: boolean;
  readonly #targets: readonly TargetFile[];

  constructor(disk: WritableDisk, targets: readonly TargetFile[]) {
    this.disk = disk;
    this.isZero = targets.every(({ storage }) => storage.kind === "file");
    this.#targets = targets;
  }

  async commit(): Promise<void> {
    try {
      // Closing writes what the image still holds back; committing makes all of it durable.
      await this.disk.close();
      // The data file is the first of them: an image without its data file is worse than a data file without its image.
      await TargetFile.commitAll(this.#targets);
    } catch (error) {
      await this.abort();
      throw error;
    }
  }

  async abort(): Promise<void> {
    await this.disk.close().catch(() => {});
    for (const target of this.#targets) await target.abort();
  }
}
