/**
 * The few system calls that Node.js does not offer, through the optional FFI package koffi. Everything works without
 * it: holes are then read as data, space is not reserved, what is copied comes through memory, and image locks are not
 * taken.
 *
 * Set the environment variable `QCOW2_NO_FFI=1` to do without it although it is installed.
 */
import { hostPath } from "../file/host-path.ts";
import { type ExtendedAttributes, extendedAttributes } from "./extended-attributes.ts";
import { platformConstants, type RenameFlags } from "./platform-constants.ts";

/** Results are what C returns, except that a failure is the negative errno: -28 is ENOSPC on Linux. */
export interface Libc {
  /** lseek(SEEK_DATA), where the platform's answers can be trusted. Moves the descriptor's own position, which nothing here uses. */
  readonly seekData: ((fd: number, offset: number) => number) | undefined;
  /** lseek(SEEK_HOLE). */
  readonly seekHole: ((fd: number, offset: number) => number) | undefined;
  /** lseek(SEEK_END): also the size of a block device, on Linux. */
  seekEnd(fd: number): number;
  /** fallocate(PUNCH_HOLE | KEEP_SIZE). */
  readonly punchHole: ((fd: number, offset: number, length: number) => Promise<number>) | undefined;
  /** posix_fallocate. */
  readonly allocate: ((fd: number, offset: number, length: number) => Promise<number>) | undefined;
  /** copy_file_range: the bytes that were copied, which may be fewer than asked for; 0 at the end of the source, -1 for a failure. */
  readonly copyFileRange: ((request: CopyRequest) => Promise<number>) | undefined;
  /** renameat2: "exchange" lets two names change places, "no-replace" fails with EEXIST if `to` is there. */
  readonly rename: ((from: string, to: string, how: keyof RenameFlags) => number) | undefined;
  /** posix_fadvise(DONTNEED), a piece of advice: what the host makes of it is not asked. */
  readonly dropCache: ((fd: number, offset: number, length: number) => void) | undefined;
  /** Undefined where the calls are others than on Linux. */
  readonly attributes: ExtendedAttributes | undefined;
  /** fcntl with a `struct flock`, which the call may change. */
  fcntl(fd: number, command: number, argument: Uint8Array): number;
  /** _exit: the process is gone, with nothing of it taken down. */
  exit(code: number): void;
}

export interface CopyRequest {
  readonly fromFd: number;
  readonly fromOffset: number;
  readonly toFd: number;
  readonly toOffset: number;
  readonly length: number;
}

let loading: Promise<Libc | undefined> | undefined;
let loaded: Libc | undefined;

/** The system calls; undefined where there is no koffi, no build of it for this platform, or it was switched off. */
export async function loadLibc(): Promise<Libc | undefined> {
  const switchedOff = process.env.QCOW2_NO_FFI;
  if (switchedOff !== undefined && switchedOff !== "" && switchedOff !== "0") return undefined;
  loading ??= bindLibc();
  loaded = await loading;
  return loaded;
}

/**
 * What ends this process at once, without Node.js taking itself down; undefined before native calls were loaded, or where
 * there are none. For programs whose work is done: exit handlers are not called, nor is anything flushed.
 */
export function hostExit(): ((code: number) => void) | undefined {
  return loaded?.exit;
}

async function bindLibc(): Promise<Libc | undefined> {
  const constants = platformConstants(process.platform, process.arch);
  if (constants === undefined) return undefined;
  try {
    const { default: koffi } = await import("koffi");
    const library = koffi.load(null);
    const errno = (): number => -koffi.errno();
    const lseek = library.func("lseek", "int64", ["int", "int64", "int"]);
    const fcntl = library.func("fcntl", "int", ["int", "int", "..."]);
    const seek = (fd: number, offset: number, whence: number): number => {
      const found: unknown = lseek(fd, offset, whence);
      if (typeof found !== "number") throw new RangeError(`lseek answered ${String(found)}, beyond 2^53 - 1`);
      return found < 0 ? errno() : found;
    };
    const { seekData, seekHole, punchHoleMode, posixFallocate, copyFileRange, dropCacheAdvice } = constants;
    const { renameFlags, extendedAttributes: hasAttributes } = constants;
    return {
      seekData: seekData === undefined ? undefined : (fd, offset) => seek(fd, offset, seekData),
      seekHole: seekHole === undefined ? undefined : (fd, offset) => seek(fd, offset, seekHole),
      seekEnd: (fd) => seek(fd, 0, SEEK_END),
      punchHole: punchHoleMode === undefined ? undefined : bindPunchHole(library, punchHoleMode, errno),
      allocate: posixFallocate ? bindAllocate(library) : undefined,
      copyFileRange: copyFileRange ? bindCopyFileRange(library) : undefined,
      rename: renameFlags === undefined ? undefined : bindRename(library, renameFlags, errno),
      dropCache: dropCacheAdvice === undefined ? undefined : bindDropCache(library, dropCacheAdvice),
      attributes: hasAttributes ? bindAttributes(library, errno) : undefined,
      exit: library.func("_exit", "void", ["int"]),
      fcntl: (fd, command, argument) => (fcntl(fd, command, "void *", argument) === -1 ? errno() : 0),
    };
  } catch {
    // Not installed, no build for this platform, or refused by the runtime: all the same to us.
    return undefined;
  }
}

/** The same number everywhere. */
const SEEK_END = 2;

type Library = ReturnType<typeof import("koffi")["load"]>;

function bindPunchHole(
  library: Library,
  mode: number,
  errno: () => number,
): (fd: number, offset: number, length: number) => Promise<number> {
  const fallocate = library.func("fallocate", "int", ["int", "int", "int64", "int64"]);
  return async (fd, offset, length) => {
    const result = await callAsync(fallocate, fd, mode, offset, length);
    if (result === 0) return 0;
    // errno belongs to the thread that made the call; the reason is had by asking again on this one.
    return fallocate(fd, mode, offset, length) === 0 ? 0 : errno();
  };
}

function bindAllocate(library: Library): (fd: number, offset: number, length: number) => Promise<number> {
  // Where the file system cannot reserve space, the C library writes to every block: never on the main thread.
  const posixFallocate = library.func("posix_fallocate", "int", ["int", "int64", "int64"]);
  return async (fd, offset, length) => -(await callAsync(posixFallocate, fd, offset, length));
}

/** Undefined where the C library is older than the call. */
function bindCopyFileRange(library: Library): ((request: CopyRequest) => Promise<number>) | undefined {
  let copy: ReturnType<Library["func"]>;
  try {
    copy = library.func("copy_file_range", "int64", ["int", "void *", "int", "void *", "size_t", "uint"]);
  } catch {
    return undefined;
  }
  return async ({ fromFd, fromOffset, toFd, toOffset, length }) => {
    // The call moves both positions on; they are not the descriptors' own.
    const [from, to] = [BigInt64Array.of(BigInt(fromOffset)), BigInt64Array.of(BigInt(toOffset))];
    const copied = await callAsync(copy, fromFd, from, toFd, to, length, 0);
    // Named here, so that both live until the call has come back.
    return copied >= 0 && from[0] === BigInt(fromOffset + copied) && to[0] === BigInt(toOffset + copied)
      ? copied
      : -1;
  };
}

/** "The current directory", in place of a directory's descriptor. */
const AT_FDCWD = -100;

/** Undefined where the C library is older than the call. */
function bindRename(library: Library, flags: RenameFlags, errno: () => number): Libc["rename"] {
  let renameat2: ReturnType<Library["func"]>;
  try {
    renameat2 = library.func("renameat2", "int", ["int", "void *", "int", "void *", "uint"]);
  } catch {
    return undefined;
  }
  return (from, to, how) => {
    const [first, second] = [cString(from), cString(to)];
    return renameat2(AT_FDCWD, first, AT_FDCWD, second, flags[how]) === 0 ? 0 : errno();
  };
}

/** The bytes of a path, with the zero that ends it for C. */
function cString(path: string): Buffer {
  return Buffer.concat([Buffer.from(hostPath(path)), Buffer.of(0)]);
}

function bindDropCache(
  library: Library,
  advice: number,
): (fd: number, offset: number, length: number) => void {
  const posixFadvise = library.func("posix_fadvise", "int", ["int", "int64", "int64", "int"]);
  return (fd, offset, length) => {
    posixFadvise(fd, offset, length, advice);
  };
}

function bindAttributes(library: Library, errno: () => number): ExtendedAttributes {
  const list = library.func("flistxattr", "int64", ["int", "void *", "size_t"]);
  const get = library.func("fgetxattr", "int64", ["int", "void *", "void *", "size_t"]);
  const set = library.func("fsetxattr", "int", ["int", "void *", "void *", "size_t", "int"]);
  const remove = library.func("fremovexattr", "int", ["int", "void *"]);
  return extendedAttributes({ list, get, set, remove }, errno);
}

/** koffi refuses more than 256 calls at a time; there are no more threads than a few to make them. */
const MAX_CALLS = 64;
let calls = 0;
const waiting: (() => void)[] = [];

async function callAsync(
  native: ReturnType<Library["func"]>,
  ...args: readonly (number | BigInt64Array)[]
): Promise<number> {
  while (calls >= MAX_CALLS) await new Promise<void>((resolve) => waiting.push(resolve));
  calls++;
  try {
    return await new Promise((resolve, reject) => {
      native.async(...args, (error: unknown, result: number) => {
        if (error) reject(error);
        else resolve(result);
      });
    });
  } finally {
    calls--;
    waiting.shift()?.();
  }
}
