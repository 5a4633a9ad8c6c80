/** What the system calls in libc.ts are called with, by platform. */
import { endianness } from "node:os";

/** How `struct flock` is laid out and which fcntl commands take open-file-description locks. */
export interface LockConstants {
  readonly structBytes: number;
  readonly typeAt: number;
  readonly whenceAt: number;
  readonly startAt: number;
  readonly lengthAt: number;
  readonly getLock: number;
  readonly setLock: number;
  readonly readLock: number;
  readonly writeLock: number;
  readonly unlock: number;
}

/** The flags of renameat2(2). */
export interface RenameFlags {
  readonly "no-replace": number;
  readonly exchange: number;
}

export interface PlatformConstants {
  /** Undefined where the answers are not to be trusted. */
  readonly seekData: number | undefined;
  readonly seekHole: number | undefined;
  /** The mode of fallocate(2); undefined where there is no such call. */
  readonly punchHoleMode: number | undefined;
  readonly posixFallocate: boolean;
  /** True if copy_file_range(2) is there and can be relied on. */
  readonly copyFileRange: boolean;
  /** The advice of posix_fadvise(3) that gives up cached pages; undefined where there is no such call. */
  readonly dropCacheAdvice: number | undefined;
  /** Undefined where there is no renameat2(2). */
  readonly renameFlags: RenameFlags | undefined;
  /** True if the calls for extended attributes are those of Linux. */
  readonly extendedAttributes: boolean;
  readonly locks: LockConstants;
}

/** 32-bit systems have other types in the same calls, and no need worth the risk of getting them wrong. */
const ARCHITECTURES = new Set(["x64", "arm64", "riscv64", "loong64", "ppc64", "s390x"]);

const LINUX: PlatformConstants = {
  seekData: 3,
  seekHole: 4,
  // FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE
  punchHoleMode: 0x02 | 0x01,
  posixFallocate: true,
  copyFileRange: true,
  // POSIX_FADV_DONTNEED
  dropCacheAdvice: 4,
  renameFlags: { "no-replace": 1, exchange: 2 },
  extendedAttributes: true,
  locks: {
    structBytes: 32,
    typeAt: 0,
    whenceAt: 2,
    startAt: 8,
    lengthAt: 16,
    getLock: 36,
    setLock: 37,
    readLock: 0,
    writeLock: 1,
    unlock: 2,
  },
};

/**
 * APFS is known to report holes where data was written a moment ago (GNU coreutils and QEMU both met it), so holes
 * are not asked for there: reading zeroes is slow, missing data is loss.
 */
const MACOS: PlatformConstants = {
  seekData: undefined,
  seekHole: undefined,
  punchHoleMode: undefined,
  posixFallocate: false,
  copyFileRange: false,
  dropCacheAdvice: undefined,
  renameFlags: undefined,
  extendedAttributes: false,
  locks: {
    structBytes: 24,
    typeAt: 20,
    whenceAt: 22,
    startAt: 0,
    lengthAt: 8,
    getLock: 92,
    setLock: 90,
    readLock: 1,
    writeLock: 3,
    unlock: 2,
  },
};

/** Undefined where this package makes no native calls at all: Windows, 32-bit and big-endian systems. */
export function platformConstants(platform: string, arch: string): PlatformConstants | undefined {
  if (!ARCHITECTURES.has(arch) || endianness() !== "LE") return undefined;
  if (platform === "linux") return LINUX;
  if (platform === "darwin") return MACOS;
  return undefined;
}
