import { decodeText, isQcow2Error } from "@qcow2/core";
import { isOutOfMemory } from "@qcow2/node";
import { CommandError } from "./command-errors.ts";
import { errnoText } from "./errno-text.ts";

/** What may follow the reason, line by line. */
export function hintsOf(error: unknown): readonly string[] {
  if (error instanceof CommandError) return error.hints;
  if (isQcow2Error(error, "locked")) return [`Is another process using the image [${error.data.name}]?`];
  if (isQcow2Error(error, "bitmap-in-use")) {
    return ["Try block-dirty-bitmap-remove to delete this bitmap from disk"];
  }
  return [];
}

/** The reason in one line, or undefined if the error is a bug of ours, which deserves its stack. */
export function describeError(error: unknown): string | undefined {
  if (isQcow2Error(error) || error instanceof CommandError) return oneLine(error.message);
  if (isSystemError(error)) {
    const path = error.path instanceof Uint8Array ? decodeText(error.path) : error.path;
    const place = path === undefined ? "" : `'${path}': `;
    return oneLine(`${place}${errnoText(error.code)}`);
  }
  return isOutOfMemory(error) ? errnoText("ENOMEM") : undefined;
}

/** `Could not open 'NAME': REASON`. Bugs are passed on as they are. */
export function couldNotOpen(name: string, error: unknown): unknown {
  return withPrefix(`Could not open '${name}': `, error);
}

/** Of an image that could not be opened because its file could not, the file's reason: it names the file, too. */
export function unnested(error: unknown): unknown {
  return error instanceof CommandError && isQcow2Error(error.cause, "io") ? error.cause : error;
}

/** `NAME: REASON`, as `create` says what it could not create. Bugs are passed on as they are. */
export function blame(name: string, error: unknown): unknown {
  return withPrefix(`${name}: `, error);
}

/** A reason of the command's own that begins with the same words already is left as it is. */
export function withPrefix(prefix: string, error: unknown): unknown {
  const reason = describeError(error);
  if (reason === undefined) return error;
  const isPrefixed = error instanceof CommandError && reason.startsWith(prefix);
  return new CommandError(isPrefixed ? reason : prefix + reason, {
    cause: error,
    hints: hintsOf(error),
    ...(error instanceof CommandError ? { exitCode: error.exitCode } : {}),
  });
}

/** The same reason, followed by a line more. Bugs are passed on as they are. */
export function withHint(hint: string, error: unknown): unknown {
  const reason = describeError(error);
  if (reason === undefined) return error;
  return new CommandError(reason, { cause: error, hints: [...hintsOf(error), hint] });
}

/** Names and texts out of an image must not break the line, nor reach the terminal as control sequences. */
export function oneLine(text: string): string {
  return text.replace(/[\p{Cc}\u2028\u2029]/gu, (character) => {
    return `\\x${character.charCodeAt(0).toString(16).padStart(2, "0")}`;
  });
}

interface SystemError extends Error {
  readonly code: string;
  /** Bytes, if the name was given so. */
  readonly path?: string | Uint8Array;
}

function isSystemError(error: unknown): error is SystemError {
  return error instanceof Error && "syscall" in error && "code" in error && typeof error.code === "string";
}
