/** Draws which parts of a disk hold data: one character for each equal part. */

/** One line of `qcow2 map --output=json`, as far as it matters here. */
export interface MapEntry {
  /** Bytes. */
  readonly start: number;
  /** Bytes. */
  readonly length: number;
  /** True if it reads as zeroes. */
  readonly zero: boolean;
}

const COLUMNS = 64;
const SHADES = ["·", "░", "▒", "▓", "█"] as const;

export interface MapDrawing {
  readonly lines: readonly string[];
  /** Bytes that one character stands for. */
  readonly bytesPerCharacter: number;
}

/** The drawing has at most `COLUMNS * rows` characters; a part with any data at all is never shown as empty. */
export function drawMap(entries: readonly MapEntry[], diskBytes: number, rows: number): MapDrawing {
  const bytesPerCharacter = Math.max(1, Math.ceil(diskBytes / (COLUMNS * rows)));
  const dataBytes = new Float64Array(Math.ceil(diskBytes / bytesPerCharacter));
  for (const entry of entries) {
    if (entry.zero) continue;
    const end = entry.start + entry.length;
    for (let at = entry.start; at < end; ) {
      const part = Math.floor(at / bytesPerCharacter);
      const next = Math.min(end, (part + 1) * bytesPerCharacter);
      dataBytes[part]! += next - at;
      at = next;
    }
  }
  const characters = Array.from(dataBytes, (bytes) => {
    return SHADES[
      bytes === 0 ? 0 : Math.max(1, Math.round((bytes / bytesPerCharacter) * (SHADES.length - 1)))
    ]!;
  });
  const lines: string[] = [];
  for (let at = 0; at < characters.length; at += COLUMNS)
    lines.push(characters.slice(at, at + COLUMNS).join(""));
  return { lines, bytesPerCharacter };
}
