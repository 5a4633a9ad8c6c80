/** The host's name for what QEMU's block layer answers where this library throws. */
import { isQcow2Error } from "@qcow2/core";

/** "EIO", "ENOTSUP", ...; undefined for what is no error of the library. */
export function qemuErrno(error: unknown): string | undefined {
  if (!isQcow2Error(error)) return undefined;
  if (isQcow2Error(error, "io")) return error.data.errno ?? "EIO";
  // A refcount that would become too large is an invalid request, and no file that is too large.
  if (isQcow2Error(error, "limit-exceeded") && error.data.what === "refcount") return "EINVAL";
  switch (error.code) {
    case "read-only":
      return "EPERM";
    case "unsupported":
    case "codec-missing":
      return "ENOTSUP";
    case "invalid-option":
      return "EINVAL";
    case "limit-exceeded":
      return "EFBIG";
    case "snapshot-not-found":
      return "ENOENT";
    case "out-of-memory":
      return "ENOMEM";
    default:
      return "EIO";
  }
}
