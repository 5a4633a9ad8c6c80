/** A table of 8-byte entries that is wholly in memory (L1 table, refcount table), and which parts of it changed. */
import { viewOf } from "../format/uint64.ts";
import { SECTOR_SIZE } from "../limits.ts";

const ENTRY_BYTES = 8;

/** Bytes of a table at one moment, on their way to the disk. */
export interface TableSector {
  readonly sector: number;
  /** Host byte offset. */
  readonly offset: number;
  readonly bytes: Uint8Array;
}

export class ResidentTable {
  readonly bytes: Uint8Array;
  readonly view: DataView;
  /** Host byte offset. */
  readonly offset: number;
  readonly #dirtySectors = new Set<number>();

  constructor(bytes: Uint8Array, offset: number) {
    this.bytes = bytes;
    this.view = viewOf(bytes);
    this.offset = offset;
  }

  /** Number of entries. */
  get entries(): number {
    return this.bytes.length / ENTRY_BYTES;
  }

  get isDirty(): boolean {
    return this.#dirtySectors.size > 0;
  }

  markEntryDirty(index: number): void {
    this.#dirtySectors.add(Math.floor((index * ENTRY_BYTES) / SECTOR_SIZE));
  }

  /** Copies of the changed sectors in order; they count as clean from now on. */
  takeDirty(): TableSector[] {
    const sectors = [...this.#dirtySectors].sort((first, second) => first - second);
    this.#dirtySectors.clear();
    return sectors.map((sector) => {
      const start = sector * SECTOR_SIZE;
      return { sector, offset: this.offset + start, bytes: this.bytes.slice(start, start + SECTOR_SIZE) };
    });
  }

  /** The sectors did not reach the disk. */
  notWritten(sectors: readonly TableSector[]): void {
    for (const { sector } of sectors) this.#dirtySectors.add(sector);
  }
}
