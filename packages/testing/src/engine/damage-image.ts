/**
 * Breaks single fields of an image's metadata, wherever there are some: header, L1 and L2 tables of the disk and of its
 * snapshots, refcounts, snapshot table, bitmaps; and the file's length. It parses the format by itself.
 */
import type { Random } from "../random.ts";

const OFFSET_MASK = 0x00fffffffffffe00n;
const COPIED = 1n << 63n;
const COMPRESSED = 1n << 62n;
const BITMAPS_EXTENSION = 0x23852875;
const EXTENDED_L2 = 16n;

/** One field, by where it is. */
interface Field {
  readonly at: number;
  readonly bytes: 2 | 4 | 8;
}

/** The fields of one kind of structure; most draws take those that say something. */
interface Fields {
  readonly kind: string;
  readonly fields: readonly Field[];
}

/** Breaks one to `most` places; returns the image, which may be longer or shorter, and what was done. */
export function damageImage(
  image: Uint8Array,
  most: number,
  random: Random,
): { readonly bytes: Uint8Array; readonly done: readonly string[] } {
  let bytes: Uint8Array = image.slice();
  const kinds = fieldsOf(bytes);
  const done: string[] = [];
  for (let count = 1 + random.below(most); count > 0; count--) {
    if (random.below(12) === 0) {
      const [length, what] = otherLength(bytes, random);
      const changed = new Uint8Array(length);
      changed.set(bytes.subarray(0, length));
      for (let at = bytes.length; at < length; at++) changed[at] = what === "garbage" ? random.below(256) : 0;
      bytes = changed;
      done.push(`length ${length}, ${what}`);
      continue;
    }
    const { kind, fields } = random.pick(kinds);
    const field = random.pick(fields);
    if (field.at + field.bytes > bytes.length) continue;
    const from = read(bytes, field);
    const to = BigInt.asUintN(field.bytes * 8, otherValue(from, field, bytes, kinds, random));
    write(bytes, field, to);
    done.push(`${kind} at ${field.at}: 0x${from.toString(16)} became 0x${to.toString(16)}`);
  }
  return { bytes, done };
}

function otherLength(bytes: Uint8Array, random: Random): [length: number, what: string] {
  const clusterSize = 2 ** new DataView(bytes.buffer, bytes.byteOffset).getUint32(20);
  const change = random.below(8 * clusterSize);
  if (random.below(3) !== 0) return [Math.max(clusterSize, bytes.length - change), "cut off"];
  return [bytes.length + change, random.below(2) === 0 ? "garbage" : "zeroes"];
}

function otherValue(
  from: bigint,
  { bytes: width }: Field,
  bytes: Uint8Array,
  kinds: readonly Fields[],
  random: Random,
): bigint {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const clusterSize = BigInt(2 ** view.getUint32(20));
  const clusters = Math.ceil(bytes.length / Number(clusterSize));
  const flags = random.pick([0n, COPIED, COPIED, from & ~OFFSET_MASK, COMPRESSED, 1n]);
  switch (random.below(width === 8 ? 9 : 3)) {
    case 0:
      return from ^ (1n << BigInt(random.below(width * 8)));
    case 1:
      return from + BigInt(random.pick([-1, 1, 2, 512]));
    case 2:
      return BigInt(random.pick([0, 1, random.below(256), random.uint32()]));
    case 3:
      return from + clusterSize;
    case 4:
    case 5:
      // Where anything may be, or nothing yet.
      return (BigInt(random.below(clusters + 4)) * clusterSize) | flags;
    case 6:
      return BigInt(bytes.length * 4) | flags;
    case 7: {
      // What another field says: two users of one place.
      const other = random.pick(random.pick(kinds).fields);
      return other.bytes === 8 && other.at + 8 <= bytes.length ? read(bytes, other) : 0n;
    }
    default:
      return (BigInt(random.uint32()) << 32n) | BigInt(random.uint32());
  }
}

function read(bytes: Uint8Array, { at, bytes: width }: Field): bigint {
  let value = 0n;
  for (let index = 0; index < width; index++) value = (value << 8n) | BigInt(bytes[at + index] as number);
  return value;
}

function write(bytes: Uint8Array, { at, bytes: width }: Field, value: bigint): void {
  for (let index = 0; index < width; index++) {
    bytes[at + index] = Number((value >> BigInt(8 * (width - 1 - index))) & 0xffn);
  }
}

function fieldsOf(bytes: Uint8Array): readonly Fields[] {
  const finder = new FieldFinder(bytes);
  finder.find();
  return finder.kinds();
}

class FieldFinder {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #clusterSize: number;
  readonly #l2EntryBytes: number;
  readonly #found = new Map<string, Field[]>();
  readonly #tables = new Set<number>();

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    this.#clusterSize = 2 ** this.#view.getUint32(20);
    const isExtended = this.#version >= 3 && (this.#view.getBigUint64(72) & EXTENDED_L2) !== 0n;
    this.#l2EntryBytes = isExtended ? 16 : 8;
  }

  kinds(): readonly Fields[] {
    return [...this.#found]
      .map(([kind, fields]) => ({ kind, fields }))
      .filter(({ fields }) => fields.length > 0);
  }

  find(): void {
    const view = this.#view;
    for (const at of [40, 48, 64]) this.#add("header", { at, bytes: 8 });
    for (const at of [36, 56, 60]) this.#add("header", { at, bytes: 4 });
    this.#findTree("L1", Number(view.getBigUint64(40)), view.getUint32(36));
    this.#findRefcounts(Number(view.getBigUint64(48)));
    this.#findSnapshots(Number(view.getBigUint64(64)), view.getUint32(60));
    if (this.#version >= 3) this.#findBitmaps(view.getUint32(100));
  }

  get #version(): number {
    return this.#view.getUint32(4);
  }

  #add(kind: string, field: Field): void {
    if (field.at + field.bytes > this.#bytes.length) return;
    const fields = this.#found.get(kind) ?? [];
    fields.push(field);
    this.#found.set(kind, fields);
  }

  /** All fields in use, and a few of the others. */
  #addEntries(kind: string, offset: number, count: number, step: number): void {
    let empty = 0;
    for (let index = 0; index < count; index++) {
      const at = offset + index * step;
      if (at + 8 > this.#bytes.length) return;
      if (this.#view.getBigUint64(at) !== 0n || empty++ < 3) this.#add(kind, { at, bytes: 8 });
      if (step === 16 && this.#view.getBigUint64(at + 8) !== 0n)
        this.#add(`${kind} bitmap`, { at: at + 8, bytes: 8 });
    }
  }

  #findTree(kind: string, offset: number, entries: number): void {
    this.#addEntries(kind, offset, entries, 8);
    for (let index = 0; index < entries; index++) {
      const table = this.#hostOffset(offset + index * 8);
      if (table === 0 || this.#tables.has(table)) continue;
      this.#tables.add(table);
      this.#addEntries("L2", table, this.#clusterSize / this.#l2EntryBytes, this.#l2EntryBytes);
    }
  }

  #findRefcounts(offset: number): void {
    this.#addEntries("refcount table", offset, 16, 8);
    for (let index = 0; index < 4; index++) {
      const block = this.#hostOffset(offset + index * 8);
      if (block === 0) continue;
      for (let at = block; at < block + Math.min(this.#clusterSize, 128); at += 2) {
        this.#add("refcount block", { at, bytes: 2 });
      }
    }
  }

  #findSnapshots(offset: number, count: number): void {
    let at = offset;
    for (let index = 0; index < count && at + 40 <= this.#bytes.length; index++) {
      at = Math.ceil(at / 8) * 8;
      this.#add("snapshot", { at, bytes: 8 });
      this.#add("snapshot", { at: at + 8, bytes: 4 });
      this.#add("snapshot", { at: at + 12, bytes: 2 });
      this.#add("snapshot", { at: at + 36, bytes: 4 });
      this.#findTree("snapshot L1", Number(this.#view.getBigUint64(at)), this.#view.getUint32(at + 8));
      at +=
        40 + this.#view.getUint32(at + 36) + this.#view.getUint16(at + 12) + this.#view.getUint16(at + 14);
    }
  }

  #findBitmaps(extensionsAt: number): void {
    for (let at = extensionsAt; at + 8 <= this.#clusterSize; ) {
      const type = this.#view.getUint32(at);
      if (type === 0) return;
      if (type === BITMAPS_EXTENSION) {
        for (const field of [8, 16, 24]) this.#add("bitmaps extension", { at: at + field, bytes: 8 });
        const directory = Number(this.#view.getBigUint64(at + 24));
        this.#add("bitmap", { at: directory, bytes: 8 });
        this.#add("bitmap", { at: directory + 8, bytes: 8 });
        this.#add("bitmap", { at: directory + 16, bytes: 8 });
        this.#addEntries("bitmap table", this.#hostOffset(directory), this.#view.getUint32(directory + 8), 8);
      }
      at += 8 + Math.ceil(this.#view.getUint32(at + 4) / 8) * 8;
    }
  }

  #hostOffset(at: number): number {
    return at + 8 > this.#bytes.length ? 0 : Number(this.#view.getBigUint64(at) & OFFSET_MASK);
  }
}
