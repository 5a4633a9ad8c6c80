import type { Disk, Extent } from "@qcow2/core";

/** The extents that lie at one position of two disks; undefined where a disk has ended. */
export interface ExtentPair {
  /** From here on both hold: each may have begun earlier and may end later. */
  readonly offset: number;
  readonly first: Extent | undefined;
  readonly second: Extent | undefined;
}

/** A failed map: of which disk, and from where on nothing is known. */
export class MapFailure extends Error {
  readonly disk: Disk;
  readonly offset: number;

  constructor(disk: Disk, offset: number, cause: unknown) {
    super(`the map of ${disk.name} failed at ${offset}`, { cause });
    this.disk = disk;
    this.offset = offset;
  }
}

/** Walks over the maps of two disks in step, up to the end of the larger one. @throws MapFailure */
export async function* extentPairs(
  first: Disk,
  second: Disk,
  signal: AbortSignal | undefined,
): AsyncGenerator<ExtentPair, void, undefined> {
  const cursors = [new ExtentCursor(first, signal), new ExtentCursor(second, signal)] as const;
  try {
    const end = Math.max(first.size, second.size);
    for (let offset = 0; offset < end; ) {
      const pair = { offset, first: await cursors[0].at(offset), second: await cursors[1].at(offset) };
      yield pair;
      offset = Math.min(endOf(pair.first), endOf(pair.second));
    }
  } finally {
    await Promise.all(cursors.map((cursor) => cursor.close()));
  }
}

function endOf(extent: Extent | undefined): number {
  return extent === undefined ? Number.POSITIVE_INFINITY : extent.offset + extent.length;
}

/** Goes forward through the extents of one disk. */
class ExtentCursor {
  readonly #disk: Disk;
  readonly #extents: AsyncIterator<Extent>;
  #current: Extent | undefined;

  constructor(disk: Disk, signal: AbortSignal | undefined) {
    this.#disk = disk;
    this.#extents = disk.map({ signal })[Symbol.asyncIterator]();
  }

  /** The extent at `offset`, which lies in the current one or at its end. */
  async at(offset: number): Promise<Extent | undefined> {
    if (offset >= this.#disk.size) return undefined;
    if (this.#current === undefined || offset >= endOf(this.#current)) {
      const extent = await this.#next(offset);
      if (extent.offset !== offset || extent.length <= 0) {
        throw new Error(`the map of ${this.#disk.name} goes from ${offset} to ${extent.offset}`);
      }
      this.#current = extent;
    }
    return this.#current;
  }

  async close(): Promise<void> {
    await this.#extents.return?.();
  }

  async #next(offset: number): Promise<Extent> {
    let result: IteratorResult<Extent>;
    try {
      result = await this.#extents.next();
    } catch (cause) {
      throw new MapFailure(this.#disk, offset, cause);
    }
    if (result.done) throw new Error(`the map of ${this.#disk.name} ends at ${offset} of ${this.#disk.size}`);
    return result.value;
  }
}
