/** The persistent bitmaps of an image while a transaction changes them; what changes is written to new clusters. */
import { Qcow2Error, refuseOption } from "../../errors.ts";
import {
  assertBitmapEntry,
  BITMAP_FLAG_AUTO,
  BITMAP_FLAG_IN_USE,
  BITMAP_TYPE_DIRTY_TRACKING,
  type BitmapDirectoryEntry,
  bitmapTableEntries,
  encodeBitmapDirectory,
} from "../../format/bitmap-directory.ts";
import { BITMAP_TABLE_ENTRY_BYTES, bitmapTableEntry } from "../../format/bitmap-table-entry.ts";
import type { BitmapsExtension } from "../../format/header-extensions.ts";
import { decodeStoredText } from "../../format/stored-text.ts";
import { viewOf, writeUint64 } from "../../format/uint64.ts";
import { MAX_BITMAP_DIRECTORY_BYTES, MAX_BITMAPS } from "../../limits.ts";
import type { MetadataTransaction } from "../transaction/metadata-transaction.ts";
import { clearBits, type GuestRange, readBitmapTable, StoredBitmap, setBits } from "./stored-bitmap.ts";

interface EditedBitmap {
  entry: BitmapDirectoryEntry;
  /** The bitmap table as it is now; undefined until it is needed. */
  table: Uint8Array | undefined;
  /** True if the table has to be written anew. */
  changed: boolean;
}

export class BitmapEditor {
  readonly #transaction: MetadataTransaction;
  #bitmaps: EditedBitmap[];
  #changed = false;

  constructor(transaction: MetadataTransaction) {
    this.#transaction = transaction;
    this.#bitmaps = transaction.image.bitmaps.map((entry) => ({ entry, table: undefined, changed: false }));
  }

  get names(): readonly string[] {
    return this.#bitmaps.map(({ entry }) => decodeStoredText(entry.nameBytes));
  }

  /** Adds an empty bitmap. @throws Qcow2Error "invalid-option", "limit-exceeded" */
  add(bitmap: {
    readonly nameBytes: Uint8Array;
    readonly granularityBits: number;
    readonly enabled: boolean;
  }): void {
    const { layout } = this.#transaction.image;
    const name = decodeStoredText(bitmap.nameBytes);
    if (this.names.includes(name)) {
      refuseOption("name", `Bitmap already exists: ${name}`);
    }
    if (this.#bitmaps.length >= MAX_BITMAPS) {
      throw new Qcow2Error("limit-exceeded", "Maximum number of persistent bitmaps is already reached", {
        what: "bitmaps",
        found: this.#bitmaps.length + 1,
        maximum: MAX_BITMAPS,
      });
    }
    const disk = { clusterSize: layout.geometry.clusterSize, virtualSize: layout.virtualSize };
    const entries = entriesFor(bitmap.granularityBits, disk);
    const entry: BitmapDirectoryEntry = {
      tableOffset: BigInt(disk.clusterSize),
      tableSize: entries,
      flags: bitmap.enabled ? BITMAP_FLAG_AUTO : 0,
      type: BITMAP_TYPE_DIRTY_TRACKING,
      granularityBits: bitmap.granularityBits,
      nameBytes: bitmap.nameBytes,
      extraData: new Uint8Array(0),
    };
    assertBitmapEntry(entry, disk);
    this.#bitmaps.push({
      entry: { ...entry, tableOffset: 0n },
      table: new Uint8Array(entries * BITMAP_TABLE_ENTRY_BYTES),
      changed: true,
    });
    this.#changed = true;
  }

  /** Removes a bitmap, also one that was left in use. @throws Qcow2Error "bitmap-not-found" */
  async remove(name: string): Promise<void> {
    const bitmap = this.#find(name);
    await this.#dropData(bitmap);
    await this.#dropTable(bitmap.entry);
    this.#bitmaps = this.#bitmaps.filter((other) => other !== bitmap);
    this.#changed = true;
  }

  /** Sets all bits to 0. @throws Qcow2Error "bitmap-not-found", "bitmap-in-use" */
  async clear(name: string): Promise<void> {
    const bitmap = this.#findConsistent(name);
    await this.#dropData(bitmap);
    bitmap.table = new Uint8Array(bitmap.entry.tableSize * BITMAP_TABLE_ENTRY_BYTES);
    bitmap.changed = true;
    this.#changed = true;
  }

  /** @throws Qcow2Error "bitmap-not-found", "bitmap-in-use" */
  setEnabled(name: string, enabled: boolean): void {
    const bitmap = this.#findConsistent(name);
    const { flags } = bitmap.entry;
    const wanted = enabled ? flags | BITMAP_FLAG_AUTO : flags & ~BITMAP_FLAG_AUTO;
    if (wanted === flags) return;
    bitmap.entry = { ...bitmap.entry, flags: wanted };
    this.#changed = true;
  }

  /** Says that all bitmaps that follow the disk were saved. */
  setSaved(name: string): void {
    const bitmap = this.#find(name);
    bitmap.entry = { ...bitmap.entry, flags: bitmap.entry.flags & ~BITMAP_FLAG_IN_USE };
    this.#changed = true;
  }

  /** The bitmap as it is stored now. @throws Qcow2Error "bitmap-not-found", "bitmap-in-use" */
  async read(name: string): Promise<StoredBitmap> {
    return await this.#stored(this.#findConsistent(name));
  }

  /**
   * Sets the bits of every range that `dirty` gives for a part of the disk, in a pass over the bitmap.
   * @throws Qcow2Error "bitmap-not-found", "bitmap-in-use"
   */
  async addDirty(name: string, dirty: (part: GuestRange) => AsyncIterable<GuestRange>): Promise<void> {
    const bitmap = this.#findConsistent(name);
    const stored = await this.#stored(bitmap);
    const { clusterSize } = this.#transaction.image.layout.geometry;
    const { virtualSize } = this.#transaction.image.layout;
    for (let index = 0; index < bitmap.entry.tableSize; index++) {
      this.#transaction.throwIfAborted();
      const start = index * stored.coverage;
      const part = { start, end: Math.min(virtualSize, start + stored.coverage) };
      const bits = (await stored.bitsAt(index)) ?? new Uint8Array(clusterSize);
      const before = bits.slice();
      for await (const range of dirty(part)) {
        const first = Math.floor((range.start - start) / stored.granularity);
        setBits(bits, first, Math.ceil((range.end - start) / stored.granularity));
      }
      if (!sameBytes(before, bits)) await this.#replaceData(bitmap, index, bits);
    }
  }

  /** Makes all bitmaps fit a disk of `virtualSize` bytes; what is added is not dirty. @throws Qcow2Error "bitmap-in-use" */
  async resize(virtualSize: number): Promise<void> {
    const { geometry, virtualSize: oldSize } = this.#transaction.image.layout;
    const { clusterSize } = geometry;
    for (const name of this.names) {
      const bitmap = this.#findConsistent(name);
      const stored = await this.#stored(bitmap);
      const { granularityBits } = bitmap.entry;
      const entries = entriesFor(granularityBits, { clusterSize, virtualSize });
      // Bits behind the end are nobody's, and must not become somebody's.
      const kept = Math.ceil(Math.min(oldSize, virtualSize) / stored.granularity);
      const lastIndex = Math.floor(kept / (clusterSize * 8));
      const last = await stored.bitsAt(lastIndex);
      if (last !== undefined) {
        clearBits(last, kept % (clusterSize * 8), clusterSize * 8);
        await this.#replaceData(bitmap, lastIndex, last);
      }
      for (let index = lastIndex + 1; index < bitmap.entry.tableSize; index++) {
        await this.#replaceData(bitmap, index, undefined);
      }
      const table = new Uint8Array(entries * BITMAP_TABLE_ENTRY_BYTES);
      table.set((bitmap.table as Uint8Array).subarray(0, table.length));
      // The old table is given up by its own length, when the new one is written.
      if (entries !== bitmap.entry.tableSize) {
        await this.#dropTable(bitmap.entry);
        bitmap.entry = { ...bitmap.entry, tableOffset: 0n, tableSize: entries };
      }
      bitmap.table = table;
      bitmap.changed = true;
      this.#changed = true;
    }
  }

  /** Writes tables and directory; returns what the header has to say, or undefined if nothing changed. */
  async finish(): Promise<BitmapsExtension | null | undefined> {
    if (!this.#changed) return undefined;
    const { bitmaps: current } = this.#transaction.image.layout;
    for (const bitmap of this.#bitmaps) {
      if (!bitmap.changed) continue;
      await this.#dropTable(bitmap.entry);
      const tableOffset = BigInt(await this.#transaction.addTable(bitmap.table as Uint8Array));
      bitmap.entry = { ...bitmap.entry, tableOffset };
    }
    if (current !== undefined) {
      const [offset, length] = [Number(current.directoryOffset), Number(current.directorySize)];
      await this.#transaction.dropTable({ offset, length });
    }
    if (this.#bitmaps.length === 0) return null;
    const directory = encodeBitmapDirectory(this.#bitmaps.map(({ entry }) => entry));
    if (directory.length > MAX_BITMAP_DIRECTORY_BYTES) {
      throw new Qcow2Error("limit-exceeded", "Not enough space in the bitmap directory", {
        what: "bitmap directory",
        found: directory.length,
        maximum: MAX_BITMAP_DIRECTORY_BYTES,
      });
    }
    return {
      bitmapCount: this.#bitmaps.length,
      directorySize: BigInt(directory.length),
      directoryOffset: BigInt(await this.#transaction.addTable(directory)),
    };
  }

  #find(name: string): EditedBitmap {
    const bitmap = this.#bitmaps.find(({ entry }) => decodeStoredText(entry.nameBytes) === name);
    if (bitmap !== undefined) return bitmap;
    throw new Qcow2Error("bitmap-not-found", `Dirty bitmap '${name}' not found`, { bitmap: name });
  }

  #findConsistent(name: string): EditedBitmap {
    const bitmap = this.#find(name);
    if ((bitmap.entry.flags & BITMAP_FLAG_IN_USE) === 0) return bitmap;
    throw new Qcow2Error("bitmap-in-use", `Bitmap '${name}' is inconsistent and cannot be used`, {
      bitmap: name,
    });
  }

  async #stored(bitmap: EditedBitmap): Promise<StoredBitmap> {
    const { storage, layout } = this.#transaction.image;
    const { entry } = bitmap;
    const { clusterSize } = layout.geometry;
    bitmap.table ??= await readBitmapTable(storage, clusterSize, entry);
    return new StoredBitmap({ storage, clusterSize, entry, table: bitmap.table });
  }

  /** Puts other bits into the place of those of one table entry; undefined for none. */
  async #replaceData(bitmap: EditedBitmap, index: number, bits: Uint8Array | undefined): Promise<void> {
    const table = bitmap.table as Uint8Array;
    const view = viewOf(table);
    const at = index * BITMAP_TABLE_ENTRY_BYTES;
    await this.#dropEntry(view, at);
    const isStored = bits?.some((byte) => byte !== 0) ?? false;
    writeUint64(view, at, isStored ? await this.#transaction.addTable(bits as Uint8Array) : 0);
    bitmap.changed = true;
    this.#changed = true;
  }

  async #dropData(bitmap: EditedBitmap): Promise<void> {
    await this.#stored(bitmap);
    const view = viewOf(bitmap.table as Uint8Array);
    for (let at = 0; at < view.byteLength; at += BITMAP_TABLE_ENTRY_BYTES) await this.#dropEntry(view, at);
  }

  async #dropEntry(table: DataView, at: number): Promise<void> {
    const { clusterSize } = this.#transaction.image.layout.geometry;
    const { offset, isValid } = bitmapTableEntry(table, at, clusterSize);
    if (isValid && offset !== 0) await this.#transaction.dropTable({ offset, length: clusterSize });
  }

  async #dropTable({ tableOffset, tableSize }: BitmapDirectoryEntry): Promise<void> {
    if (tableOffset === 0n) return;
    await this.#transaction.dropTable({
      offset: Number(tableOffset),
      length: tableSize * BITMAP_TABLE_ENTRY_BYTES,
    });
  }
}

/** @throws Qcow2Error "unsupported": a bitmap table has at least one entry, and an empty disk needs none */
function entriesFor(
  granularityBits: number,
  disk: { readonly clusterSize: number; readonly virtualSize: number },
): number {
  const entries = bitmapTableEntries(granularityBits, disk);
  if (entries > 0) return entries;
  throw new Qcow2Error("unsupported", "A disk of 0 bytes cannot have persistent bitmaps", {
    operation: "store a bitmap",
  });
}

function sameBytes(first: Uint8Array, second: Uint8Array): boolean {
  return first.every((byte, index) => byte === second[index]);
}
