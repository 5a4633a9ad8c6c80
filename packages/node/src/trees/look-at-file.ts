/** What one file is: by its inode, and if it may be opened by its header. */
import fs from "node:fs";
import {
  inspectHeader,
  isQcow2Error,
  probeStorage,
  Qcow2Error,
  type Qcow2HeaderInfo,
  readBackingName,
} from "@qcow2/core";
import { FileStorage } from "../file/file-storage.ts";
import { ioError } from "../file/host-error.ts";
import { hostPath } from "../file/host-path.ts";
import type { ImageUse } from "../locks/image-locks.ts";
import { rawVirtualSize } from "../open/raw-virtual-size.ts";
import { identityOf } from "../references/file-identity.ts";
import { asQcow2Error } from "./find-files.ts";

export interface FileFacts {
  /** See `fileIdentity`. */
  readonly identity: string;
  readonly kind: "file" | "block-device" | "other";
  /** Bytes. */
  readonly size: number;
  readonly actualSize: number;
  readonly modified: Date;
}

/** What can be learned without opening the file. @throws Qcow2Error "io" */
export async function fileFacts(path: string): Promise<FileFacts> {
  // Such names come out of damaged images; no file has one.
  if (path.includes("\0")) throw ioError("ENOENT", { operation: "open", name: path });
  try {
    const stat = await fs.promises.stat(hostPath(path), { bigint: true });
    return {
      identity: identityOf(stat),
      kind: stat.isFile() ? "file" : stat.isBlockDevice() ? "block-device" : "other",
      size: Number(stat.size),
      // Units of 512 bytes, whatever the file system's block size.
      actualSize: Number(stat.blocks) * 512,
      modified: stat.mtime,
    };
  } catch (error) {
    throw asQcow2Error(error, path);
  }
}

export interface Content {
  /** By the first bytes: "qcow2", "raw" or another format's name; undefined if the file cannot be read. */
  readonly format: string | undefined;
  /** Bytes of the virtual disk. */
  readonly virtualSize: number | undefined;
  readonly info: Qcow2HeaderInfo | undefined;
  /** The backing file that the header names, also if the rest of it makes no sense. */
  readonly backingName: string | undefined;
  readonly use: ImageUse | undefined;
  /** What is wrong with it, or why it could not be read. */
  readonly error: Qcow2Error | undefined;
}

/** A shorter file has no signature. */
const MIN_SIGNATURE_BYTES = 4;

/** A raw image of `size` bytes that was not opened. */
export function rawContent(size: number): Content {
  return { ...NOTHING, format: "raw", virtualSize: rawVirtualSize(size) };
}

/** Opens the file for a look at its header, without a lock that others could notice. */
export async function lookInto(path: string, { kind, size }: FileFacts): Promise<Content> {
  // Files of no length are not opened: those of /proc, for one, wait or change something when they are read.
  if (kind === "file" && size < MIN_SIGNATURE_BYTES) return rawContent(size);
  try {
    await using storage = await FileStorage.open(path, { readOnly: true, lock: "none" });
    return await contentOf(storage);
  } catch (error) {
    if (!isQcow2Error(error)) throw error;
    return { ...NOTHING, error };
  }
}

async function contentOf(storage: FileStorage): Promise<Content> {
  const format = await probeStorage(storage, { path: storage.path });
  const use = storage.useByOthers();
  if (format === "raw") return { ...rawContent(await storage.size()), use };
  if (format !== "qcow2") return { ...NOTHING, format, use, error: unsupported(storage.name, format) };
  const { info, error } = await inspectHeader(storage);
  const backingName = info === undefined ? await readBackingName(storage) : info.backingFile;
  return { format, virtualSize: info?.virtualSize, info, backingName, use, error };
}

function unsupported(path: string, format: string): Qcow2Error {
  return new Qcow2Error(
    "unsupported-format",
    `'${path}' has the format '${format}', which is not supported`,
    {
      format,
    },
  );
}

export const NOTHING: Content = {
  format: undefined,
  virtualSize: undefined,
  info: undefined,
  backingName: undefined,
  use: undefined,
  error: undefined,
};
