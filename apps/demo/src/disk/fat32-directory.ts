/** FAT directory entries: 32 bytes each, with names of 8 and 3 characters. */

export const ENTRY_BYTES = 32;

export interface DirectoryEntry {
  /** Upper case, 8.3. */
  readonly name: string;
  readonly kind: "file" | "folder";
  /** 0 for an empty file. */
  readonly firstCluster: number;
  /** Bytes; 0 for folders. */
  readonly length: number;
  readonly modified: Date;
  readonly deleted: boolean;
}

const ATTRIBUTE_LABEL = 0x08;
const ATTRIBUTE_FOLDER = 0x10;
const ATTRIBUTE_ARCHIVE = 0x20;
/** Replaces the first character of a deleted file's name. */
const DELETED = 0xe5;
const LABEL_DATE = new Date("2024-01-01T00:00:00Z");

/** A folder's content, not yet padded to whole clusters. */
export function encodeDirectory(folder: {
  readonly entries: readonly DirectoryEntry[];
  readonly label: string | undefined;
  readonly self: number;
  readonly parent: number;
}): Uint8Array {
  const entry = (
    name: string,
    attributes: number,
    source: Omit<DirectoryEntry, "name" | "kind">,
  ): Uint8Array => {
    const bytes = new Uint8Array(ENTRY_BYTES);
    const view = new DataView(bytes.buffer);
    bytes.set(new TextEncoder().encode(name));
    if (source.deleted) bytes[0] = DELETED;
    bytes[11] = attributes;
    const { date, time } = dosDateTime(source.modified);
    view.setUint16(14, time, true);
    view.setUint16(16, date, true);
    view.setUint16(18, date, true);
    view.setUint16(20, source.firstCluster >>> 16, true);
    view.setUint16(22, time, true);
    view.setUint16(24, date, true);
    view.setUint16(26, source.firstCluster & 0xffff, true);
    view.setUint32(28, source.length, true);
    return bytes;
  };
  const special = (firstCluster: number) => ({
    firstCluster,
    length: 0,
    modified: LABEL_DATE,
    deleted: false,
  });
  const head =
    folder.label !== undefined
      ? [entry(folder.label.padEnd(11), ATTRIBUTE_LABEL, special(0))]
      : [
          entry(".".padEnd(11), ATTRIBUTE_FOLDER, special(folder.self)),
          entry("..".padEnd(11), ATTRIBUTE_FOLDER, special(folder.parent)),
        ];
  const rest = folder.entries.map((source) =>
    entry(paddedName(source.name), source.kind === "folder" ? ATTRIBUTE_FOLDER : ATTRIBUTE_ARCHIVE, source),
  );
  const all = [...head, ...rest];
  const bytes = new Uint8Array(all.length * ENTRY_BYTES);
  for (const [index, item] of all.entries()) bytes.set(item, index * ENTRY_BYTES);
  return bytes;
}

/** "README.TXT" -> "README  TXT". */
function paddedName(name: string): string {
  const match = /^([A-Z0-9_-]{1,8})(?:\.([A-Z0-9_-]{1,3}))?$/.exec(name);
  if (match === null) throw new RangeError(`${name} is not an 8.3 name`);
  return match[1]!.padEnd(8) + (match[2] ?? "").padEnd(3);
}

/** FAT's own packing: years from 1980, seconds in steps of two. */
function dosDateTime(when: Date): { date: number; time: number } {
  return {
    date: ((when.getUTCFullYear() - 1980) << 9) | ((when.getUTCMonth() + 1) << 5) | when.getUTCDate(),
    time: (when.getUTCHours() << 11) | (when.getUTCMinutes() << 5) | (when.getUTCSeconds() >> 1),
  };
}
