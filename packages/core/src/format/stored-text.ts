/**
 * Text that is bytes elsewhere: names of files, snapshots and bitmaps. Nothing says that they are UTF-8, and a byte that
 * was replaced names something else. So each byte that is no part of UTF-8, 0x80 to 0xff, is a lone surrogate in a string,
 * U+DC80 to U+DCFF, and becomes that byte again. UTF-8 itself never decodes to those.
 */
import { refuseOption } from "../errors.ts";

const STRICT: TextDecoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const ENCODER: TextEncoder = new TextEncoder();
/** With the flag "u", only surrogates that are no half of a pair. */
const LONE_SURROGATE = /\p{Surrogate}/u;
const BYTE_BASE = 0xdc00;
const FIRST_BYTE = 0x80;
const LAST_BYTE = 0xff;

/** A string from which {@link encodeText} makes the same bytes again, whatever they are. */
export function decodeText(bytes: Uint8Array): string {
  try {
    return STRICT.decode(bytes);
  } catch {
    return decodeByteByByte(bytes);
  }
}

/**
 * The bytes of a string: UTF-8, and bytes that {@link decodeText} found not to be.
 * @throws Qcow2Error "invalid-option" for a surrogate that is neither half of a pair nor such a byte: no bytes mean it
 */
export function encodeText(text: string): Uint8Array {
  if (!LONE_SURROGATE.test(text)) return ENCODER.encode(text);
  const pieces: Uint8Array[] = [];
  let length = 0;
  for (const piece of text.split(/(\p{Surrogate})/u)) {
    const bytes = LONE_SURROGATE.test(piece) ? Uint8Array.of(byteOf(piece)) : ENCODER.encode(piece);
    pieces.push(bytes);
    length += bytes.length;
  }
  const joined = new Uint8Array(length);
  let at = 0;
  for (const piece of pieces) {
    joined.set(piece, at);
    at += piece.length;
  }
  return joined;
}

/** Names inside an image: up to the first NUL, which is where other programs stop reading. */
export function decodeStoredText(bytes: Uint8Array): string {
  const end = bytes.indexOf(0);
  return decodeText(end < 0 ? bytes : bytes.subarray(0, end));
}

function byteOf(surrogate: string): number {
  const byte = surrogate.charCodeAt(0) - BYTE_BASE;
  if (byte >= FIRST_BYTE && byte <= LAST_BYTE) return byte;
  const code = surrogate.charCodeAt(0).toString(16).toUpperCase();
  return refuseOption("name", `A name with the lone surrogate U+${code} cannot be written as bytes`);
}

function decodeByteByByte(bytes: Uint8Array): string {
  let text = "";
  for (let at = 0; at < bytes.length; ) {
    const length = sequenceLength(bytes, at);
    text +=
      length === 0
        ? String.fromCharCode(BYTE_BASE + (bytes[at] ?? 0))
        : STRICT.decode(bytes.subarray(at, at + length));
    at += Math.max(length, 1);
  }
  return text;
}

/** Bytes of the character that begins at `at`; 0 if none does. */
function sequenceLength(bytes: Uint8Array, at: number): number {
  const first = bytes[at] ?? 0;
  if (first < 0x80) return 1;
  const length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  try {
    STRICT.decode(bytes.subarray(at, at + length));
    return at + length <= bytes.length ? length : 0;
  } catch {
    return 0;
  }
}
