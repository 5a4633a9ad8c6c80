/** Reading a damaged source: what can be read is copied, the rest becomes zeroes and is reported. */
import { type Disk, type ErrorCode, type Extent, isQcow2Error } from "@qcow2/core";

/** A part of the source that could not be read; it reads as zeroes in the target. */
export interface UnreadableRange {
  /** First guest byte. */
  readonly offset: number;
  /** Bytes. */
  readonly length: number;
  /** What the source said about the first piece of it. */
  readonly error: Error;
}

/** Damage to the source. Anything else (a missing codec, a closed file, a bug) must not turn a disk into zeroes. */
const DAMAGE: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  "io",
  "truncated",
  "corrupt",
  "invalid-image",
  "decompress-failed",
  "unsafe-offset",
  "limit-exceeded",
]);

/** A failed read is tried again in pieces of these sizes: few requests where most is readable, one sector at worst. */
const RETRY_BYTES = [65536, 4096, 512];

function isDamage(error: unknown): error is Error {
  return isQcow2Error(error) && DAMAGE.has(error.code);
}

/** Fills `into` from `offset` as far as the source can be read, the rest with zeroes, and returns what that was. */
export async function readSalvaging(
  source: Disk,
  offset: number,
  into: Uint8Array,
): Promise<UnreadableRange[]> {
  const unreadable: UnreadableRange[] = [];
  await readPieces(source, offset, into, RETRY_BYTES, unreadable);
  return unreadable;
}

async function readPieces(
  source: Disk,
  offset: number,
  into: Uint8Array,
  pieceBytes: readonly number[],
  unreadable: UnreadableRange[],
): Promise<void> {
  try {
    await source.read({ offset, into });
    return;
  } catch (error) {
    if (!isDamage(error)) throw error;
    const [size, ...smaller] = pieceBytes;
    if (size === undefined) {
      into.fill(0);
      noteUnreadable(unreadable, { offset, length: into.length, error });
      return;
    }
    for (let start = 0; start < into.length; ) {
      const count = Math.min(into.length - start, size - ((offset + start) % size));
      await readPieces(source, offset + start, into.subarray(start, start + count), smaller, unreadable);
      start += count;
    }
  }
}

function noteUnreadable(unreadable: UnreadableRange[], range: UnreadableRange): void {
  const last = unreadable.at(-1);
  if (last !== undefined && last.offset + last.length === range.offset) {
    unreadable[unreadable.length - 1] = { ...last, length: last.length + range.length };
  } else unreadable.push(range);
}

/** The source's extents; where the map itself is damaged, pieces of `pieceBytes` that are to be read. */
export async function* mapSalvaging(
  source: Disk,
  pieceBytes: number,
  signal: AbortSignal | undefined,
): AsyncGenerator<Extent, void, undefined> {
  for (let offset = 0; offset < source.size; ) {
    try {
      for await (const extent of source.map({ offset, length: source.size - offset, signal })) {
        yield extent;
        offset = extent.offset + extent.length;
      }
      return;
    } catch (error) {
      if (!isDamage(error)) throw error;
    }
    const length = Math.min(source.size - offset, pieceBytes - (offset % pieceBytes));
    yield {
      offset,
      length,
      kind: "data",
      present: true,
      stored: true,
      depth: 0,
      hostOffset: undefined,
      compressed: false,
    };
    offset += length;
  }
}
