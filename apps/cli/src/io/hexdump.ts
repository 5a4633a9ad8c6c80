const BYTES_PER_LINE = 16;
/** Lines that are printed at once: about 64 KiB of text. */
const LINES_PER_CHUNK = 1024;

/** The bytes as `read -v` shows them: sixteen a line with the offset of the first, in pieces of bounded length. */
export function* hexdump(bytes: Uint8Array, offset: number): Generator<string> {
  for (let start = 0; start < bytes.length; start += LINES_PER_CHUNK * BYTES_PER_LINE) {
    const end = Math.min(bytes.length, start + LINES_PER_CHUNK * BYTES_PER_LINE);
    let text = "";
    for (let at = start; at < end; at += BYTES_PER_LINE) {
      text += line(bytes.subarray(at, Math.min(end, at + BYTES_PER_LINE)), offset + at);
    }
    yield text;
  }
}

function line(bytes: Uint8Array, offset: number): string {
  let values = "";
  let characters = "";
  for (const byte of bytes) {
    values += `${byte.toString(16).padStart(2, "0")} `;
    characters += isLetterOrDigit(byte) ? String.fromCharCode(byte) : ".";
  }
  return `${offset.toString(16).padStart(8, "0")}:  ${values} ${characters}\n`;
}

function isLetterOrDigit(byte: number): boolean {
  // Setting this bit makes A to Z lower case, and nothing else a letter.
  const lower = byte | 0x20;
  return (byte >= 0x30 && byte <= 0x39) || (lower >= 0x61 && lower <= 0x7a);
}
