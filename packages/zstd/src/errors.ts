/**
 * Why a stream was refused: it ends early ("truncated"), says what RFC 8878 does not allow ("corrupt"), decodes to more
 * than there is room for or claims a window above the caller's limit ("limit-exceeded"), or needs a dictionary
 * ("unsupported").
 */
export type ZstdErrorCode = "truncated" | "corrupt" | "limit-exceeded" | "unsupported";

/** The only error that decoding throws for what it reads. */
export class ZstdError extends Error {
  override readonly name = "ZstdError";
  readonly code: ZstdErrorCode;
  /** Byte offset in the input, of the structure that is wrong or of a byte within it. */
  readonly position: number;

  constructor(code: ZstdErrorCode, message: string, position: number) {
    super(`${message} (at byte ${position})`);
    this.code = code;
    this.position = position;
  }
}

/** True for a {@link ZstdError}, of the given code if one is given. */
export function isZstdError(error: unknown, code?: ZstdErrorCode): error is ZstdError {
  return error instanceof ZstdError && (code === undefined || error.code === code);
}
