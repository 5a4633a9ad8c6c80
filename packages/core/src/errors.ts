/**
 * Errors: one class, a stable `code` for programs, typed `data` for whoever wants to know where, a sentence
 * for people. Caller mistakes are `TypeError` or `RangeError`; broken promises of our own are {@link assert}.
 */

/** What each error code carries. Offsets and lengths are bytes. */
export interface ErrorDataByCode {
  /** The file does not begin with the qcow2 magic. */
  readonly "not-qcow2": { readonly found: string };
  /** A header version other than 2 and 3. */
  readonly "unsupported-version": { readonly version: number };
  /** Incompatible feature bits that this library does not know; the names come from the image where it has them. */
  readonly "unsupported-feature": { readonly features: readonly string[] };
  /** The guest data is encrypted, and no decryption was supplied. */
  readonly encrypted: { readonly method: string };
  /** A format that this library does not read. */
  readonly "unsupported-format": { readonly format: string };
  /** A header field, header extension or table entry with a value that the specification does not allow. */
  readonly "invalid-image": {
    readonly structure: string;
    readonly offset?: number;
    readonly found?: number | bigint | string;
    readonly expected?: number | bigint | string;
  };
  /** A structure that lies, in whole or in part, beyond the end of the file. */
  readonly truncated: {
    readonly structure: string;
    readonly offset: number;
    readonly length: number;
    readonly fileSize: number;
  };
  /** A value above a limit in `limits.ts`. */
  readonly "limit-exceeded": {
    readonly what: string;
    readonly found: number | bigint;
    readonly maximum: number;
  };
  /** An offset or size that a JavaScript number cannot hold exactly (above 2^53 - 1). */
  readonly "unsafe-offset": { readonly structure: string; readonly found: bigint };
  /** Metadata that contradicts itself; reported where it was met. */
  readonly corrupt: { readonly structure: string; readonly offset?: number; readonly guestOffset?: number };
  /** The image carries the "corrupt" or "dirty" feature bit and was to be opened for writing. */
  readonly "needs-repair": { readonly state: "corrupt" | "dirty" };
  /** A backing or data file that the policy does not open. */
  readonly "reference-denied": { readonly kind: "backing" | "data"; readonly name: string };
  /** A backing chain that comes back to an image that is already part of it. */
  readonly "reference-loop": { readonly name: string };
  /** A backing file whose format is not recorded, with probing not allowed. */
  readonly "backing-format-missing": { readonly name: string };
  /** A compression type for which no codec was supplied, or none that can compress. */
  readonly "codec-missing": { readonly codec: string; readonly direction: "compress" | "decompress" };
  /** Compressed data that does not decode to exactly one cluster. */
  readonly "decompress-failed": { readonly guestOffset: number };
  /** The host has no memory for it. What was to be done may work later: it says nothing about the data. */
  readonly "out-of-memory": { readonly operation: string };
  /** No internal snapshot has that id or name. */
  readonly "snapshot-not-found": { readonly snapshot: string };
  /** More than one internal snapshot could be meant, and the wrong one would be lost. */
  readonly "ambiguous-snapshot": {
    readonly snapshot: string;
    readonly candidates: readonly { readonly id: string; readonly name: string }[];
  };
  /** No persistent bitmap has that name. */
  readonly "bitmap-not-found": { readonly bitmap: string };
  /** A persistent bitmap that was not saved when the image was last used: it may have missed changes. */
  readonly "bitmap-in-use": { readonly bitmap: string };
  /** A write to something opened read-only. */
  readonly "read-only": { readonly name: string };
  /** A write after which a raw disk whose format was guessed would look like an image of `format`. */
  readonly "format-guessed": { readonly name: string; readonly format: string };
  /** A use after `close()`. */
  readonly closed: { readonly name: string };
  /** Something that is looked at in steps, and that was replaced as a whole between two of them. */
  readonly changed: { readonly name: string };
  /** A guest range that does not lie within the disk. */
  readonly "out-of-range": { readonly offset: number; readonly length: number; readonly size: number };
  /** An option, or a combination of options, that the format cannot express; with a `reason` where programs have to know it. */
  readonly "invalid-option": { readonly option: string; readonly reason?: OptionRefusal };
  /** Something that this storage, disk or runtime cannot do; with the `obstacle` where programs have to know it. */
  readonly unsupported: { readonly operation: string; readonly obstacle?: "bitmaps" };
  /** Another process holds the image open in a way that conflicts. */
  readonly locked: { readonly name: string };
  /** The storage failed. `errno` is the host's name for the reason ("EIO", "ENOSPC", ...), where it has one. */
  readonly io: {
    readonly operation: string;
    readonly name: string;
    readonly offset?: number;
    readonly errno?: string;
  };
}

/**
 * Why an option is refused.
 * - "name-too-long": more bytes than the format has room for.
 * - "header-full": names and other header extensions do not fit into the first cluster together.
 * - "size-too-large": larger than disks can be, or than they can be with this cluster size.
 */
export type OptionRefusal = "name-too-long" | "header-full" | "size-too-large";

export type ErrorCode = keyof ErrorDataByCode;

/** Every error that this library throws for a reason outside the program: bad images, missing files, full disks. */
export class Qcow2Error<Code extends ErrorCode = ErrorCode> extends Error {
  override readonly name = "Qcow2Error";
  readonly code: Code;
  readonly data: ErrorDataByCode[Code];

  constructor(code: Code, message: string, data: ErrorDataByCode[Code], options?: { cause?: unknown }) {
    super(message, options);
    this.code = code;
    this.data = data;
  }
}

/** True if `error` is a {@link Qcow2Error}; with `code`, only if it has that code, and its `data` is narrowed. */
export function isQcow2Error<Code extends ErrorCode = ErrorCode>(
  error: unknown,
  code?: Code,
): error is Qcow2Error<Code> {
  return error instanceof Qcow2Error && (code === undefined || error.code === code);
}

/** @throws Qcow2Error "invalid-option" */
export function refuseOption(option: string, message: string, reason?: OptionRefusal): never {
  throw new Qcow2Error("invalid-option", message, { option, ...(reason === undefined ? {} : { reason }) });
}

/** Throws if a promise that this library makes to itself is broken: a bug here, never bad input. */
export function assert(condition: boolean, message: string): asserts condition {
  if (!condition) throw new Error(`qcow2 internal error: ${message}`);
}

/** Asserts that `value` is an integer in 0 .. 2^53 - 1, as every offset and length must be before it meets a system call. */
export function assertOffset(value: number, what: string): void {
  if (!Number.isSafeInteger(value) || value < 0) {
    throw new RangeError(`${what} must be an integer from 0 to 2^53 - 1, not ${String(value)}`);
  }
}
