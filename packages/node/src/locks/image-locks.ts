/**
 * Image locks, as QEMU takes them: shared locks on single bytes of the file, each byte standing for one thing that
 * the holder does, or for one thing that it does not tolerate in others. Nobody ever takes an exclusive lock; a
 * conflict is found by asking whether one could be had. The locks belong to the open file, so they end with it and
 * hold against other openings in the same process too.
 */
import { isQcow2Error, Qcow2Error } from "@qcow2/core";
import { errnoName, ioError } from "../file/host-error.ts";
import type { Libc } from "../native/libc.ts";
import { type LockConstants, platformConstants } from "../native/platform-constants.ts";

/**
 * What an opening does and tolerates:
 * - "shared": reads, and tolerates everything (QEMU: a raw image opened for reading, or `--force-share`);
 * - "consistent": reads, and tolerates no writer (QEMU: a qcow2 image opened for reading);
 * - "write": reads, writes and resizes, and tolerates no other writer (QEMU: a qcow2 image opened for writing);
 * - "none": takes no locks and respects none, so that nobody notices a short look at the file.
 */
export type LockMode = "none" | "shared" | "consistent" | "write";

/** What others do with an image: "writing", only "reading", or "nothing". */
export type ImageUse = "nothing" | "reading" | "writing";

/** "I do this": byte 100 + bit. */
const USES_BASE = 100;
/** "I do not tolerate this": byte 200 + bit. */
const REFUSES_BASE = 200;

/** Bits of QEMU's block permissions. */
const READ = 0;
const WRITE = 1;
const RESIZE = 3;
/** All of them, with those that nothing here asks for by name. */
const BITS = 4;

interface Claims {
  readonly uses: readonly number[];
  readonly refuses: readonly number[];
}

const CLAIMS: Readonly<Record<LockMode, Claims>> = {
  none: { uses: [], refuses: [] },
  shared: { uses: [READ], refuses: [] },
  consistent: { uses: [READ], refuses: [WRITE, RESIZE] },
  write: { uses: [READ, WRITE, RESIZE], refuses: [WRITE, RESIZE] },
};

/** Reasons that say "no such locks here" (an old kernel, a network or FUSE file system), not "someone has them". */
const NO_LOCKS_HERE = new Set(["EINVAL", "ENOSYS", "ENOTSUP", "EOPNOTSUPP", "ENOLCK"]);

/**
 * Takes the locks of `mode` on `fd` in addition to those it holds; false where the file system has no such locks.
 * After a failure the caller must close `fd`: some of the bytes may be locked.
 * @throws Qcow2Error "locked", "io"
 */
export function lockImage(libc: Libc, fd: number, mode: LockMode, name: string): boolean {
  const constants = platformConstants(process.platform, process.arch)?.locks;
  if (constants === undefined) return false;
  const claims = CLAIMS[mode];
  // Announce first, ask afterwards: of two that start together, at least one sees the other.
  const announced = [
    ...claims.uses.map((bit) => USES_BASE + bit),
    ...claims.refuses.map((bit) => REFUSES_BASE + bit),
  ];
  for (const byte of announced) {
    const { errno } = call(libc, fd, constants, "set", { byte, count: 1 });
    if (errno === undefined) continue;
    if (NO_LOCKS_HERE.has(errno)) return false;
    if (errno === "EAGAIN" || errno === "EACCES") throw lockedError(name, `Failed to lock byte ${byte}`);
    throw ioError(errno, { operation: "lock", name });
  }
  for (const bit of claims.uses) {
    if (isHeld(libc, fd, constants, { byte: REFUSES_BASE + bit, count: 1 }, name)) {
      throw lockedError(name, `Failed to get "${describe(bit)}" lock`);
    }
  }
  for (const bit of claims.refuses) {
    if (isHeld(libc, fd, constants, { byte: USES_BASE + bit, count: 1 }, name)) {
      throw lockedError(name, `Failed to get shared "${describe(bit)}" lock`);
    }
  }
  return true;
}

/**
 * What others do with the image behind `fd`, as far as their locks tell; undefined where there are no such locks. Takes
 * none itself.
 * @throws Qcow2Error "io"
 */
export function queryImageUse(libc: Libc, fd: number, name: string): ImageUse | undefined {
  const constants = platformConstants(process.platform, process.arch)?.locks;
  if (constants === undefined) return undefined;
  try {
    const isUsed = (byte: number, count: number): boolean =>
      isHeld(libc, fd, constants, { byte, count }, name);
    if (isUsed(USES_BASE + WRITE, BITS - WRITE)) return "writing";
    return isUsed(USES_BASE + READ, 1) || isUsed(REFUSES_BASE, BITS) ? "reading" : "nothing";
  } catch (error) {
    if (isQcow2Error(error, "io") && NO_LOCKS_HERE.has(error.data.errno ?? "")) return undefined;
    throw error;
  }
}

/** Bytes from `byte` on. */
interface LockRange {
  readonly byte: number;
  readonly count: number;
}

/** True if anyone else holds a lock within `range`. */
function isHeld(libc: Libc, fd: number, constants: LockConstants, range: LockRange, name: string): boolean {
  const answer = call(libc, fd, constants, "query", range);
  if (answer.errno !== undefined) throw ioError(answer.errno, { operation: "query the locks of", name });
  return answer.type !== constants.unlock;
}

/** Takes a shared lock, or asks whether an exclusive one could be had: every lock of others is in its way. */
function call(
  libc: Libc,
  fd: number,
  constants: LockConstants,
  what: "set" | "query",
  { byte, count }: LockRange,
): { readonly errno: string | undefined; readonly type: number } {
  const argument = new Uint8Array(constants.structBytes);
  const view = new DataView(argument.buffer);
  view.setInt16(constants.typeAt, what === "set" ? constants.readLock : constants.writeLock, true);
  view.setInt16(constants.whenceAt, 0, true);
  view.setBigInt64(constants.startAt, BigInt(byte), true);
  view.setBigInt64(constants.lengthAt, BigInt(count), true);
  const result = libc.fcntl(fd, what === "set" ? constants.setLock : constants.getLock, argument);
  return {
    errno: result < 0 ? errnoName(-result) : undefined,
    type: view.getInt16(constants.typeAt, true),
  };
}

/** As QEMU calls its permissions. */
function describe(bit: number): string {
  if (bit === READ) return "consistent read";
  return bit === WRITE ? "write" : "resize";
}

function lockedError(name: string, message: string): Qcow2Error<"locked"> {
  return new Qcow2Error("locked", message, { name });
}
