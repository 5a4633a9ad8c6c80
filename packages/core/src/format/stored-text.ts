/** Names inside an image: snapshot ids and names, bitmap names. */

/**
 * Text as people see it: UTF-8 up to the first NUL, which is where other programs stop reading. Bytes that are no
 * UTF-8 become U+FFFD, so whoever rewrites a name keeps the bytes, not this.
 */
export function decodeStoredText(bytes: Uint8Array): string {
  const end = bytes.indexOf(0);
  return new TextDecoder("utf-8", { ignoreBOM: true }).decode(end < 0 ? bytes : bytes.subarray(0, end));
}
