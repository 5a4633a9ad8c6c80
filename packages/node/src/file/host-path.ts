/**
 * Names of files between strings and the host. A name is bytes to the host, and a string here in which bytes that are no UTF-8
 * are lone surrogates (see `decodeText` of core); Node.js would replace those, and open another file.
 */
import { decodeText, encodeText } from "@qcow2/core";

const LONE_SURROGATE = /\p{Surrogate}/u;

/**
 * What to hand to a function of `node:fs`; each path goes through here. Windows has names in UTF-16, and no bytes.
 * @throws Qcow2Error "invalid-option" for a string that no bytes mean
 */
export function hostPath(path: string): string | Buffer {
  if (process.platform === "win32" || !LONE_SURROGATE.test(path)) return path;
  return Buffer.from(encodeText(path));
}

/** The string for a name that the host gave as bytes. */
export function fromHostPath(bytes: Uint8Array): string {
  return decodeText(bytes);
}
