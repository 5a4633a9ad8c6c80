/** How a command of `io` fails. Unlike the command line's own errors, this does not end the program. */
import { errnoText } from "../errors/errno-text.ts";
import { qemuErrno } from "../errors/qemu-errno.ts";

/** Where qemu-io prints the reason: as a result, as a line on stderr, or there behind the program's name. */
export type RefusalPlace = "result" | "stderr" | "named";

export class Refusal extends Error {
  override readonly name = "Refusal";
  readonly place: RefusalPlace;

  constructor(message: string, place: RefusalPlace = "result", options: { readonly cause?: unknown } = {}) {
    super(message, options);
    this.place = place;
  }
}

/** The words of the command do not fit it: the answer is how it is called. */
export class MisusedCommand extends Error {
  override readonly name = "MisusedCommand";
}

/** `read failed: Input/output error`. Bugs are passed on as they are. */
export function failed(what: string, error: unknown): unknown {
  const errno = errnoOf(error);
  if (errno === undefined) return error;
  return new Refusal(`${what} failed: ${errnoText(errno)}`, "result", { cause: error });
}

/** The host's name for what QEMU's block layer would have returned; undefined for a bug of ours. */
function errnoOf(error: unknown): string | undefined {
  if (error instanceof RequestError) return error.errno;
  return qemuErrno(error);
}

/** A request that is refused before it reaches the disk, for one of QEMU's reasons; `why` says it in words. */
export class RequestError extends Error {
  override readonly name = "RequestError";
  readonly errno: string;

  constructor(errno: string, why: string = errnoText(errno)) {
    super(why);
    this.errno = errno;
  }
}
