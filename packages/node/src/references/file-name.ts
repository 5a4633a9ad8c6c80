/** File names as images store them, resolved the way QEMU resolves them. */
import { Qcow2Error } from "@qcow2/core";

/** True if QEMU would take the name for "protocol:rest" ("nbd://host", "json:{...}") and not for a path. */
function hasProtocol(name: string): boolean {
  if (isWindowsDrive(name)) return false;
  const separators = process.platform === "win32" ? /[:/\\]/ : /[:/]/;
  return separators.exec(name)?.[0] === ":";
}

/** True if the path does not depend on a directory. */
export function isAbsolutePath(name: string): boolean {
  return (
    name.startsWith("/") || (process.platform === "win32" && (name.startsWith("\\") || isWindowsDrive(name)))
  );
}

function isWindowsDrive(name: string): boolean {
  return process.platform === "win32" && /^[a-z]:/i.test(name);
}

const FILE_PROTOCOL = "file:";

/**
 * The path that a backing file's name stands for. A relative name is relative to the directory of `from`, the path by
 * which the image was opened (links in it are not followed). After the prefix "file:", as in QEMU, it is relative to
 * the working directory.
 * @throws Qcow2Error "reference-denied" for names with any other protocol: what an image says is never a URL here
 */
export function resolveBackingName(name: string, from: string): string {
  const path = stripFileProtocol(name, "backing");
  if (path !== name || isAbsolutePath(name)) return path;
  return directoryPrefix(from) + name;
}

/**
 * The path that an external data file's name stands for. As in QEMU, a relative name is relative to the working
 * directory and not to the image.
 * @throws Qcow2Error "reference-denied"
 */
export function resolveDataFileName(name: string): string {
  return stripFileProtocol(name, "data");
}

/** Everything up to the last separator, with it; nothing is normalised, so that links mean what the host says. */
export function directoryPrefix(path: string): string {
  const slash = path.lastIndexOf("/");
  const end = process.platform === "win32" ? Math.max(slash, path.lastIndexOf("\\")) : slash;
  return path.slice(0, end + 1);
}

/** The path of a file in a directory, which keeps its name as it was given; a file of "." is called by its name alone. */
export function joinPath(directory: string, name: string): string {
  if (directory === "." || directory === "") return name;
  const endsWithSeparator = directoryPrefix(directory) === directory;
  return endsWithSeparator ? directory + name : `${directory}/${name}`;
}

function stripFileProtocol(name: string, kind: "backing" | "data"): string {
  if (name.startsWith(FILE_PROTOCOL)) return name.slice(FILE_PROTOCOL.length);
  if (!hasProtocol(name)) return name;
  const message = `The image refers to a ${kind} file '${name}', which is not the name of a local file`;
  throw new Qcow2Error("reference-denied", message, { kind, name });
}
