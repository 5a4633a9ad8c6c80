/**
 * Puts an internal snapshot into a closed image (specification: "Snapshots"), by editing its bytes and without the
 * engine: every cluster in use gets a second reference, and nothing may be written in place any more.
 */
import type { MemoryStorage } from "@qcow2/core";

const COPIED = 1n << 63n;
const COMPRESSED = 1n << 62n;
const OFFSET_MASK = 0x00fffffffffffe00n;
const SNAPSHOT_ENTRY_BYTES = 40;
const EXTRA_DATA_BYTES = 16;

/** The image must have no snapshot and no external data file. */
export async function shareWithSnapshot(image: MemoryStorage): Promise<void> {
  const editor = new ImageEditor(image.toBytes());
  editor.share();
  const bytes = editor.bytes();
  await image.truncate(bytes.length);
  await image.write(0, bytes);
}

class ImageEditor {
  readonly #buffer: Uint8Array;
  readonly #view: DataView;
  readonly #clusterSize: number;
  readonly #refcountBits: number;
  /** Host byte offset behind everything in use, at a cluster's start. */
  #end: number;

  constructor(bytes: Uint8Array) {
    this.#clusterSize = 2 ** new DataView(bytes.buffer).getUint32(20);
    this.#end = Math.ceil(bytes.length / this.#clusterSize) * this.#clusterSize;
    this.#buffer = new Uint8Array(this.#end + 64 * this.#clusterSize);
    this.#buffer.set(bytes);
    this.#view = new DataView(this.#buffer.buffer);
    this.#refcountBits = this.#view.getUint32(4) < 3 ? 16 : 2 ** this.#view.getUint32(96);
  }

  bytes(): Uint8Array {
    return this.#buffer.slice(0, this.#end);
  }

  share(): void {
    const l1Entries = this.#view.getUint32(36);
    const l1Offset = Number(this.#view.getBigUint64(40));
    for (let index = 0; index < l1Entries; index++) {
      const at = l1Offset + index * 8;
      const table = Number(this.#view.getBigUint64(at) & OFFSET_MASK);
      if (table === 0) continue;
      this.#shareCluster(table / this.#clusterSize);
      this.#shareTable(table);
      this.#view.setBigUint64(at, BigInt(table));
    }
    const l1Copy = this.#append(l1Entries * 8);
    this.#buffer.copyWithin(l1Copy, l1Offset, l1Offset + l1Entries * 8);
    this.#addSnapshotTable(l1Copy, l1Entries);
  }

  #shareTable(table: number): void {
    const extended = this.#view.getUint32(4) >= 3 && (this.#view.getBigUint64(72) & 16n) !== 0n;
    const entryBytes = extended ? 16 : 8;
    for (let at = table; at < table + this.#clusterSize; at += entryBytes) {
      const entry = this.#view.getBigUint64(at);
      if ((entry & COMPRESSED) !== 0n) {
        this.#shareCompressed(entry);
      } else if ((entry & OFFSET_MASK) !== 0n) {
        this.#shareCluster(Number(entry & OFFSET_MASK) / this.#clusterSize);
        this.#view.setBigUint64(at, entry & ~COPIED);
      }
    }
  }

  #shareCompressed(entry: bigint): void {
    const offsetBits = BigInt(62 - (Math.log2(this.#clusterSize) - 8));
    const offset = Number(entry & ((1n << offsetBits) - 1n));
    const sectors = Number((entry & (COMPRESSED - 1n)) >> offsetBits);
    const end = (Math.floor(offset / 512) + sectors + 1) * 512;
    const first = Math.floor(offset / this.#clusterSize);
    for (let cluster = first; cluster * this.#clusterSize < end; cluster++) this.#shareCluster(cluster);
  }

  #addSnapshotTable(l1Offset: number, l1Entries: number): void {
    const at = this.#append(SNAPSHOT_ENTRY_BYTES + EXTRA_DATA_BYTES + 2);
    this.#view.setBigUint64(at, BigInt(l1Offset));
    this.#view.setUint32(at + 8, l1Entries);
    this.#view.setUint16(at + 12, 1);
    this.#view.setUint16(at + 14, 1);
    this.#view.setUint32(at + 36, EXTRA_DATA_BYTES);
    this.#view.setBigUint64(at + SNAPSHOT_ENTRY_BYTES + 8, this.#view.getBigUint64(24));
    this.#buffer.set([0x31, 0x73], at + SNAPSHOT_ENTRY_BYTES + EXTRA_DATA_BYTES);
    this.#view.setUint32(60, 1);
    this.#view.setBigUint64(64, BigInt(at));
  }

  /** Takes new clusters at the end of the file; returns their host offset. */
  #append(length: number): number {
    const offset = this.#end;
    const clusters = Math.ceil(length / this.#clusterSize);
    this.#end += clusters * this.#clusterSize;
    if (this.#end > this.#buffer.length) throw new Error("the image is too large for this editor");
    for (let index = 0; index < clusters; index++) this.#setRefcount(offset / this.#clusterSize + index, 1);
    return offset;
  }

  #shareCluster(cluster: number): void {
    this.#setRefcount(cluster, this.#refcount(cluster) + 1);
  }

  #refcount(cluster: number): number {
    const { byte, shift } = this.#locate(cluster);
    if (this.#refcountBits >= 8) return Number(this.#wideRefcount(byte));
    return (this.#view.getUint8(byte) >> shift) & (2 ** this.#refcountBits - 1);
  }

  #wideRefcount(byte: number): bigint {
    let value = 0n;
    for (let at = 0; at < this.#refcountBits / 8; at++)
      value = (value << 8n) | BigInt(this.#view.getUint8(byte + at));
    return value;
  }

  #setRefcount(cluster: number, value: number): void {
    if (value > 2 ** this.#refcountBits - 1)
      throw new Error(`refcounts of ${this.#refcountBits} bits are too narrow`);
    const { byte, shift } = this.#locate(cluster);
    if (this.#refcountBits < 8) {
      const mask = (2 ** this.#refcountBits - 1) << shift;
      this.#view.setUint8(byte, (this.#view.getUint8(byte) & ~mask) | (value << shift));
      return;
    }
    let rest = BigInt(value);
    for (let at = this.#refcountBits / 8 - 1; at >= 0; at--, rest >>= 8n) {
      this.#view.setUint8(byte + at, Number(rest & 0xffn));
    }
  }

  /** Where a cluster's refcount is; a block that is missing is added at the end of the file, and counts itself. */
  #locate(cluster: number): { readonly byte: number; readonly shift: number } {
    const perBlock = (this.#clusterSize * 8) / this.#refcountBits;
    const tableAt = Number(this.#view.getBigUint64(48)) + Math.floor(cluster / perBlock) * 8;
    let block = Number(this.#view.getBigUint64(tableAt));
    if (block === 0) {
      block = this.#end;
      this.#end += this.#clusterSize;
      this.#view.setBigUint64(tableAt, BigInt(block));
      this.#setRefcount(block / this.#clusterSize, 1);
    }
    const bit = (cluster % perBlock) * this.#refcountBits;
    return { byte: block + Math.floor(bit / 8), shift: bit % 8 };
  }
}
