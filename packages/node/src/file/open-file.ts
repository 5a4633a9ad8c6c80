/** Opening a path for {@link FileStorage}: what may be opened, and how it is refused otherwise. */
import fs from "node:fs";
import { Qcow2Error } from "@qcow2/core";
import type { Libc } from "../native/libc.ts";
import { identityOf } from "../references/file-identity.ts";
import { deviceSize } from "./device-size.ts";
import { FileStamp } from "./file-stamp.ts";
import { errnoOf, type HostOperation, hostError, ioError } from "./host-error.ts";
import { hostPath } from "./host-path.ts";
import { refuseKernelFile } from "./kernel-file.ts";

export type FileKind = "file" | "block-device";

export interface OpenFileOptions {
  readonly readOnly: boolean;
  readonly create?: boolean | undefined;
  readonly exclusive?: boolean | undefined;
  readonly mode?: number | undefined;
  /** Every write is to be durable when it ends. */
  readonly writesThrough?: boolean | undefined;
  readonly name: string;
}

export interface OpenedFile {
  readonly fd: number;
  readonly path: string;
  readonly readOnly: boolean;
  readonly kind: FileKind;
  /** Bytes of a block device; undefined for a regular file, whose size may change. */
  readonly deviceBytes: number | undefined;
  /** What tells it apart from other files, whatever they are called. */
  readonly identity: string;
  /** False if something was there already. */
  readonly isNew: boolean;
  readonly stamp: FileStamp;
}

/** The permissions that QEMU gives a new image, before the umask. */
const DEFAULT_MODE = 0o644;

/** The flag with which the host makes each write durable; undefined on Windows. */
export const WRITE_THROUGH: number | undefined = fs.constants.O_DSYNC;

/** On Linux, O_EXCL without O_CREAT is for block devices; elsewhere nobody says what it means. */
const CLAIMS_DEVICES = process.platform === "linux";

/** @throws Qcow2Error "io", "unsupported", and "locked" for a device that the host itself uses */
export async function openFile(
  path: string,
  options: OpenFileOptions,
  libc: Libc | undefined,
): Promise<OpenedFile> {
  const { name, readOnly } = options;
  const operation = options.create === true ? "create" : "open";
  const attempt = { name, operation, readOnly };
  let fd: number | undefined;
  try {
    // Asked before opening, too: opening a pipe that has no other end waits for one.
    const found = await refuseBeforeOpening(path, attempt);
    const isClaimed = found === "block-device" && !readOnly && options.exclusive !== true && CLAIMS_DEVICES;
    fd = isClaimed
      ? await claimDevice(path, options)
      : await openDescriptor(path, openFlags(options), options.mode ?? DEFAULT_MODE);
    const stat = fs.fstatSync(fd, { bigint: true });
    const kind = kindOf(stat, attempt);
    if (kind === "file") await refuseKernelFile(fd, name);
    const deviceBytes = kind === "block-device" ? await deviceSize(fd, libc) : undefined;
    return {
      fd,
      path,
      readOnly,
      kind,
      deviceBytes,
      identity: identityOf(stat),
      isNew: found === undefined,
      stamp: new FileStamp(stat),
    };
  } catch (error) {
    if (fd !== undefined) fs.closeSync(fd);
    throw hostError(error, { operation, name });
  }
}

interface Attempt extends HostOperation {
  readonly readOnly: boolean;
}

/** Undefined if there is nothing yet. */
async function refuseBeforeOpening(path: string, context: Attempt): Promise<FileKind | undefined> {
  let stat: fs.Stats;
  try {
    stat = await statPath(path);
  } catch {
    return undefined; // Opening says why, in its own words.
  }
  const kind = kindOf(stat, context);
  if (kind === "file") await refuseKernelFile(path, context.name);
  return kind;
}

/**
 * Opens a block device as its only writer. What is mounted, swapped to, or a part of another device belongs to the host, which
 * would go on with what it remembers of it.
 */
async function claimDevice(path: string, options: OpenFileOptions): Promise<number> {
  const { O_CREAT, O_EXCL } = fs.constants;
  try {
    return await openDescriptor(path, (openFlags(options) & ~O_CREAT) | O_EXCL, DEFAULT_MODE);
  } catch (error) {
    if (errnoOf(error) !== "EBUSY") throw error;
    const message = `'${options.name}' is in use by this system: it is mounted, or a part of another device`;
    throw new Qcow2Error("locked", message, { name: options.name }, { cause: error });
  }
}

/** `fs.promises` would do, and is a module of its own to load: at the start of a short command that is felt. */
function statPath(path: string): Promise<fs.Stats> {
  return new Promise((resolve, reject) => {
    fs.stat(hostPath(path), (error, stat) => {
      if (error !== null) reject(error);
      else resolve(stat);
    });
  });
}

function kindOf(stat: fs.Stats | fs.BigIntStats, { name, operation, readOnly }: Attempt): FileKind {
  if (stat.isFile()) return "file";
  if (stat.isBlockDevice()) return "block-device";
  if (stat.isDirectory()) {
    // The host refuses to write one; reading one it would open, and QEMU refuses that.
    if (!readOnly) throw ioError("EISDIR", { operation, name });
    const message = `'file' driver requires '${name}' to be a regular file`;
    throw new Qcow2Error("io", message, { operation: "open", name, errno: "EISDIR" });
  }
  throw new Qcow2Error("unsupported", `'${name}' is neither a regular file nor a block device`, {
    operation: "open anything but a regular file or a block device",
  });
}

function openFlags(options: OpenFileOptions): number {
  const { O_RDONLY, O_RDWR, O_CREAT, O_EXCL } = fs.constants;
  if (options.readOnly) return O_RDONLY;
  return (
    O_RDWR |
    (options.create === true ? O_CREAT : 0) |
    (options.exclusive === true ? O_EXCL : 0) |
    (options.writesThrough === true ? (WRITE_THROUGH ?? 0) : 0)
  );
}

function openDescriptor(path: string, flags: number, mode: number): Promise<number> {
  return new Promise((resolve, reject) => {
    fs.open(hostPath(path), flags, mode, (error, fd) => {
      if (error !== null) reject(error);
      else resolve(fd);
    });
  });
}
