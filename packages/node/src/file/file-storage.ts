import fs from "node:fs";
import { constants } from "node:os";
import { dirname } from "node:path";
import { promisify } from "node:util";
import {
  assertOffset,
  FinalFlush,
  Qcow2Error,
  type Storage,
  type StorageExtent,
  type StoredBytes,
} from "@qcow2/core";
import { type ImageUse, type LockMode, lockImage, queryImageUse } from "../locks/image-locks.ts";
import { type Libc, loadLibc } from "../native/libc.ts";
import { CacheDropper } from "./cache-dropper.ts";
import { type CacheMode, leavesNoCache, writesThrough } from "./cache-mode.ts";
import { FileStamp } from "./file-stamp.ts";
import { flushDirectory } from "./flush-directory.ts";
import { errnoName, hostError, ioError } from "./host-error.ts";
import { fromHostPath, hostPath } from "./host-path.ts";
import { type FileKind, type OpenedFile, openFile, WRITE_THROUGH } from "./open-file.ts";
import { readAt, writeAt, writeZeroesAt } from "./positioned-io.ts";

const fdatasync = promisify(fs.fdatasync);
const fsync = promisify(fs.fsync);
const ftruncate = promisify(fs.ftruncate);
const fstat: (fd: number) => Promise<fs.Stats> = promisify(fs.fstat);
const close = promisify(fs.close);

/** Reasons for which a file system or device does not punch holes at all, or not at this alignment. */
const CANNOT_PUNCH = new Set(["EOPNOTSUPP", "ENOTSUP", "ENOSYS", "EINVAL", "ENODEV"]);
/** Reasons for which a file system does not reserve space. */
const CANNOT_ALLOCATE = new Set(["EOPNOTSUPP", "ENOTSUP", "ENOSYS", "EINVAL", "ENODEV"]);

export interface FileStorageOptions {
  /** Open for reading only, and refuse every write. Default false. */
  readonly readOnly?: boolean | undefined;
  /** Create the file if it is missing. What is there already is never truncated. */
  readonly create?: boolean | undefined;
  /** With `create`: the file must not exist yet. */
  readonly exclusive?: boolean | undefined;
  /**
   * Default true: the first flush of a file that was created makes its name durable, too. False for one whose name is not
   * to stay.
   */
  readonly keepsName?: boolean | undefined;
  /** Permissions of a new file, before the umask. Default 0o644. */
  readonly mode?: number | undefined;
  /**
   * Read although others may be writing, as `--force-share` does; what is read may then not be consistent. Only with
   * `readOnly`.
   */
  readonly forceShare?: boolean | undefined;
  /**
   * The locks to take, where the platform has them (Linux and macOS, with koffi). Default: "write", or "consistent" if
   * read-only, or "shared" with `forceShare`.
   */
  readonly lock?: LockMode | undefined;
  /** What the host keeps to itself of what is read and written. Default "writeback". */
  readonly cache?: CacheMode | undefined;
  /** What to call the file in messages. Default: the path. */
  readonly name?: string | undefined;
}

/** A file that stays open, and locked, although its storage was closed. */
export interface FileHold {
  readonly fd: number;
  /** Makes content and attributes durable, as `flushAttributes` does. @throws Qcow2Error "io" */
  flush(): Promise<void>;
  /** May be called twice. @throws Qcow2Error "io" */
  release(): Promise<void>;
}

/**
 * A regular file or block device as a {@link Storage}.
 *
 * What needs the host's own calls is there only where they are (see `loadLibc`): {@link extentAt}, {@link punchHole},
 * {@link allocate} and {@link copyFrom} are otherwise undefined.
 */
export class FileStorage implements Storage {
  readonly name: string;
  /** The path as it was opened. */
  readonly path: string;
  readonly readOnly: boolean;
  readonly kind: FileKind;
  /**
   * What tells two files apart whatever they are called: the device and the inode's number, or the number of a block
   * device. Of the file that was opened, whatever its name means by now.
   */
  readonly identity: string;
  /** The extent that contains `offset`; undefined where the host cannot tell data from holes. */
  readonly extentAt?: (offset: number) => Promise<StorageExtent>;
  /** Makes the range a hole, or writes zeroes where the file system cannot; the part beyond the end is ignored. */
  readonly punchHole?: (offset: number, length: number) => Promise<void>;
  /** Reserves space, growing the file; undefined for a block device, which has all of it. @throws Qcow2Error "unsupported" if the file system cannot. */
  readonly allocate?: (offset: number, length: number) => Promise<void>;
  /** Has the host copy from another file, or share its blocks where the file system can; from a storage of this kind only. */
  readonly copyFrom?: (offset: number, from: StoredBytes) => Promise<boolean>;
  readonly #fd: number;
  readonly #asOpened: FileStamp;
  readonly #deviceBytes: number | undefined;
  readonly #libc: Libc | undefined;
  readonly #cache: CacheMode;
  readonly #dropper: CacheDropper | undefined;
  /** The directory of a new file whose name is not durable yet. */
  #newIn: string | undefined;
  #holds = 0;
  #isReleased = false;
  #inFlight = 0;
  #whenIdle: (() => void) | undefined;
  #closing: Promise<void> | undefined;
  readonly #flushes: FinalFlush = new FinalFlush(() => this.#sync());
  /** The next flush has to take the file's own attributes along. */
  #flushesAttributes = false;

  private constructor(
    file: OpenedFile,
    libc: Libc | undefined,
    { name, cache }: { readonly name: string; readonly cache: CacheMode },
  ) {
    this.name = name;
    this.#cache = cache;
    if (leavesNoCache(cache) && libc?.dropCache !== undefined) {
      this.#dropper = new CacheDropper(file.fd, libc.dropCache);
    }
    this.path = file.path;
    this.readOnly = file.readOnly;
    this.kind = file.kind;
    this.identity = file.identity;
    this.#fd = file.fd;
    this.#asOpened = file.stamp;
    this.#deviceBytes = file.deviceBytes;
    this.#libc = libc;
    if (
      file.kind === "file" &&
      libc?.seekData !== undefined &&
      libc.seekData(file.fd, 0) !== -constants.errno.EINVAL
    ) {
      this.extentAt = (offset) => this.#extentAt(offset);
    }
    if (!file.readOnly && libc?.punchHole !== undefined) {
      this.punchHole = (offset, length) => this.#punchHole(offset, length);
    }
    if (!file.readOnly && file.kind === "file" && libc?.allocate !== undefined) {
      this.allocate = (offset, length) => this.#allocate(offset, length);
    }
    // Shared blocks are not on the disk because the file is opened to write through.
    const copies = file.kind === "file" && !file.readOnly && !writesThrough(cache);
    if (copies && libc?.copyFileRange !== undefined) {
      this.copyFrom = (offset, from) => this.#copyFrom(offset, from);
    }
  }

  /**
   * Opens a file, and locks it as QEMU would where the platform can.
   * @throws Qcow2Error "io" (with the host's errno: "ENOENT", "EACCES", "EISDIR" ...), "locked", "unsupported" for
   *   anything but a regular file or block device
   * @throws TypeError for options that contradict each other
   */
  static async open(path: string, options: FileStorageOptions = {}): Promise<FileStorage> {
    const { readOnly = false, forceShare = false, name = path, cache = "writeback" } = options;
    if (readOnly && options.create === true) throw new TypeError("a file cannot be created read-only");
    if (options.exclusive === true && options.create !== true) throw new TypeError("exclusive needs create");
    if (forceShare && !readOnly) throw new TypeError("forceShare needs readOnly");
    // Such names come out of damaged images; no file has one.
    if (path.includes("\0")) {
      throw new Qcow2Error("io", `Could not open '${name}': No such file or directory`, {
        operation: "open",
        name,
        errno: "ENOENT",
      });
    }
    const libc = await loadLibc();
    const opening = { ...options, readOnly, name, writesThrough: writesThrough(cache) };
    const file = await openFile(path, opening, libc);
    const storage = new FileStorage(file, libc, { name, cache });
    if (file.isNew && options.keepsName !== false) storage.#newIn = directoryOf(path);
    try {
      storage.lock(options.lock ?? defaultLock(readOnly, forceShare));
    } catch (error) {
      await storage.close();
      throw error;
    }
    return storage;
  }

  /**
   * Takes the locks of `mode` as well; false where there are none to take. After an error, close the storage.
   * @throws Qcow2Error "locked", "io", "closed"
   */
  lock(mode: LockMode): boolean {
    this.#assertOpen();
    return this.#libc !== undefined && lockImage(this.#libc, this.#fd, mode, this.name);
  }

  /**
   * What others do with the file, as far as the image locks tell; undefined where there are none.
   * @throws Qcow2Error "io", "closed"
   */
  useByOthers(): ImageUse | undefined {
    this.#assertOpen();
    return this.#libc === undefined ? undefined : queryImageUse(this.#libc, this.#fd, this.name);
  }

  /**
   * True if the file was written to since it was opened, by whomever, as far as its size and times tell; never for devices,
   * which have no such times.
   * @throws Qcow2Error "closed"
   */
  hasChanged(): boolean {
    this.#assertOpen();
    return this.kind === "file" && !FileStamp.of(this.#fd).hasContentOf(this.#asOpened);
  }

  /** True for devices. */
  get fixedSize(): boolean {
    return this.#deviceBytes !== undefined;
  }

  async size(): Promise<number> {
    if (this.#deviceBytes !== undefined) {
      this.#assertOpen();
      return this.#deviceBytes;
    }
    return (await this.#host("get the size of", undefined, () => fstat(this.#fd))).size;
  }

  async read(offset: number, into: Uint8Array): Promise<number> {
    assertOffset(offset, "offset");
    assertOffset(offset + into.length, "end of read");
    if (into.length === 0) return 0;
    const bytesRead = await this.#host("read from", offset, () => readAt(this.#fd, into, offset));
    this.#dropper?.afterRead(offset, bytesRead);
    return bytesRead;
  }

  async write(offset: number, from: Uint8Array): Promise<void> {
    assertOffset(offset, "offset");
    assertOffset(offset + from.length, "end of write");
    this.#assertWritable();
    if (from.length === 0) return;
    await this.#host("write to", offset, () => writeAt(this.#fd, from, offset));
    // A write that is durable is so under the file's name.
    if (this.#newIn !== undefined && writesThrough(this.#cache)) await this.flush();
    const isTimeToFlush = this.#dropper?.afterWrite(offset, from.length) === true;
    if (isTimeToFlush || (WRITE_THROUGH === undefined && writesThrough(this.#cache))) await this.flush();
  }

  async truncate(size: number): Promise<void> {
    assertOffset(size, "size");
    this.#assertWritable();
    if (this.#deviceBytes === undefined) {
      await this.#host("resize", undefined, () => ftruncate(this.#fd, size));
    } else if (size > this.#deviceBytes) {
      throw ioError("ENOSPC", { operation: `resize to ${size} bytes the device`, name: this.name });
    }
  }

  /**
   * Does nothing with the cache mode "unsafe". After a failed flush nobody knows what is on the disk, and the host forgets
   * the failure: here it is final, also for those who flush at the same time.
   */
  async flush(): Promise<void> {
    this.#assertOpen();
    if (this.readOnly || this.#cache === "unsafe") return;
    await this.#flushes.flush();
  }

  /** Like {@link flush}, and the file's own attributes (owner, permissions, times) too. */
  async flushAttributes(): Promise<void> {
    this.#flushesAttributes = true;
    await this.flush();
  }

  async #sync(): Promise<void> {
    const sync = this.#flushesAttributes ? fsync : fdatasync;
    this.#flushesAttributes = false;
    // A hold flushes although the storage was closed.
    if (this.#closing === undefined) await this.#host("flush", undefined, () => sync(this.#fd));
    else await syncHeld(this.#fd, this.name);
    this.#dropper?.afterFlush();
    if (this.#newIn === undefined) return;
    await flushDirectory(this.#newIn, this.name);
    this.#newIn = undefined;
  }

  /**
   * Keeps the file open, and its locks, beyond {@link close}: for whoever goes on with it when those who write to it are
   * done. A hold has to be released.
   * @throws Qcow2Error "closed"
   */
  hold(): FileHold {
    this.#assertOpen();
    this.#holds++;
    let isHeld = true;
    return {
      fd: this.#fd,
      flush: async () => {
        if (this.readOnly || this.#cache === "unsafe") return;
        this.#flushesAttributes = true;
        await this.#flushes.flush();
      },
      release: async () => {
        if (!isHeld) return;
        isHeld = false;
        this.#holds--;
        if (this.#closing === undefined) return;
        await this.#closing;
        await this.#closeDescriptor();
      },
    };
  }

  /** True once {@link close} was called. */
  get closed(): boolean {
    return this.#closing !== undefined;
  }

  /** Waits for requests under way: the host gives a closed descriptor's number to the next file that is opened. */
  close(): Promise<void> {
    this.#closing ??= this.#closeWhenIdle();
    return this.#closing;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async allocatedBytes(): Promise<number> {
    // st_blocks counts units of 512 bytes, whatever the file system's block size.
    return (await this.#host("get the size of", undefined, () => fstat(this.#fd))).blocks * 512;
  }

  async #closeWhenIdle(): Promise<void> {
    if (this.#inFlight > 0) {
      await new Promise<void>((resolve) => {
        this.#whenIdle = resolve;
      });
    }
    await this.#closeDescriptor();
  }

  async #closeDescriptor(): Promise<void> {
    if (this.#holds > 0 || this.#isReleased) return;
    this.#isReleased = true;
    try {
      await close(this.#fd);
    } catch (error) {
      throw hostError(error, { operation: "close", name: this.name });
    }
  }

  async #extentAt(offset: number): Promise<StorageExtent> {
    assertOffset(offset, "offset");
    this.#assertOpen();
    const { seekData, seekHole } = this.#libc!;
    const data = seekData!(this.#fd, offset);
    if (data > offset) return { kind: "hole", offset, length: data - offset };
    if (data === offset) {
      const hole = seekHole!(this.#fd, offset);
      if (hole > offset) return { kind: "data", offset, length: hole - offset };
    }
    const { size } = await this.#host("get the size of", undefined, () => fstat(this.#fd));
    if (offset >= size) throw new RangeError(`offset ${offset} is not before the end (${size})`);
    // ENXIO before the end: no data follows. Any other answer taught nothing, and all may be data.
    const isTrailingHole = data === -constants.errno.ENXIO;
    return { kind: isTrailingHole ? "hole" : "data", offset, length: size - offset };
  }

  async #punchHole(offset: number, length: number): Promise<void> {
    assertOffset(offset, "offset");
    assertOffset(length, "length");
    this.#assertWritable();
    const end = Math.min(offset + length, await this.size());
    if (end <= offset) return;
    await this.#host("punch a hole in", offset, async () => {
      const errno = await this.#libc!.punchHole!(this.#fd, offset, end - offset);
      if (errno === 0) return;
      const reason = errnoName(-errno);
      if (!CANNOT_PUNCH.has(reason)) {
        throw ioError(reason, { operation: "punch a hole in", name: this.name, offset });
      }
      await writeZeroesAt(this.#fd, offset, end - offset);
    });
  }

  async #allocate(offset: number, length: number): Promise<void> {
    assertOffset(offset, "offset");
    assertOffset(offset + length, "end of range");
    this.#assertWritable();
    if (length === 0) return;
    await this.#host("allocate space for", offset, async () => {
      const errno = await this.#libc!.allocate!(this.#fd, offset, length);
      if (errno === 0) return;
      const reason = errnoName(-errno);
      if (CANNOT_ALLOCATE.has(reason)) {
        throw new Qcow2Error("unsupported", `The file system of '${this.name}' cannot reserve space`, {
          operation: "allocate",
        });
      }
      throw ioError(reason, { operation: "allocate space for", name: this.name, offset });
    });
  }

  /** A failure is no answer: whoever reads and writes instead learns which of the two files it lies with. */
  async #copyFrom(offset: number, { storage, offset: fromOffset, length }: StoredBytes): Promise<boolean> {
    assertOffset(offset, "offset");
    assertOffset(offset + length, "end of write");
    assertOffset(fromOffset, "offset of the source");
    assertOffset(fromOffset + length, "end of the source");
    this.#assertWritable();
    if (!(storage instanceof FileStorage)) return false;
    return await this.#host("copy to", offset, () =>
      storage.#host("copy from", fromOffset, async () => {
        for (let done = 0; done < length; ) {
          const copied = await this.#libc!.copyFileRange!({
            fromFd: storage.#fd,
            fromOffset: fromOffset + done,
            toFd: this.#fd,
            toOffset: offset + done,
            length: length - done,
          });
          if (copied <= 0) return false;
          done += copied;
        }
        storage.#dropper?.afterRead(fromOffset, length);
        if (this.#dropper?.afterWrite(offset, length) === true) await this.flush();
        return true;
      }),
    );
  }

  async #host<T>(operation: string, offset: number | undefined, work: () => Promise<T>): Promise<T> {
    this.#assertOpen();
    this.#inFlight++;
    try {
      return await work();
    } catch (error) {
      throw hostError(error, { operation, name: this.name, ...(offset === undefined ? {} : { offset }) });
    } finally {
      this.#inFlight--;
      if (this.#inFlight === 0) this.#whenIdle?.();
    }
  }

  #assertOpen(): void {
    if (this.#closing !== undefined) {
      throw new Qcow2Error("closed", `${this.name} is closed`, { name: this.name });
    }
  }

  #assertWritable(): void {
    this.#assertOpen();
    if (this.readOnly) throw new Qcow2Error("read-only", `${this.name} is read-only`, { name: this.name });
  }
}

function defaultLock(readOnly: boolean, forceShare: boolean): LockMode {
  if (!readOnly) return "write";
  return forceShare ? "shared" : "consistent";
}

async function syncHeld(fd: number, name: string): Promise<void> {
  try {
    await fsync(fd);
  } catch (error) {
    throw hostError(error, { operation: "flush", name });
  }
}

/** Where the name of a file that was just created is; the last link on the way may have led to another directory. */
function directoryOf(path: string): string {
  try {
    return dirname(fromHostPath(fs.realpathSync(hostPath(path), "buffer")));
  } catch {
    return dirname(path);
  }
}
