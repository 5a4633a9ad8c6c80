/** Column padding as C's `%-16s` and `%8s`: the width counts bytes of UTF-8, not characters. */

export function padRight(text: string, width: number): string {
  return text + " ".repeat(missing(text, width));
}

export function padLeft(text: string, width: number): string {
  return " ".repeat(missing(text, width)) + text;
}

function missing(text: string, width: number): number {
  return Math.max(0, width - Buffer.byteLength(text));
}
