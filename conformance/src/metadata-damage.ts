/** Damages the metadata of qcow2 images by seed. It parses the format by itself: it must not share our mistakes. */
import { closeSync, fstatSync, openSync, readSync, writeSync } from "node:fs";
import { Random } from "@qcow2/testing";

/** A part of the file that holds entries of one kind. */
interface Region {
  readonly kind: string;
  readonly offset: number;
  readonly length: number;
  /** Bytes of one entry. */
  readonly entryBytes: number;
}

/** One change; printed when a case fails. */
export interface Edit {
  readonly what: string;
  readonly offset: number;
  readonly bytes: readonly number[];
}

/** Bits 9-55 of an entry. */
const OFFSET_MASK = 0x00fffffffffffe00n;
const BITMAPS_EXTENSION = 0x23852875;
const EXTENDED_L2 = 16;
/** Longer tables are mostly zeroes; damage at their start is damage enough. */
const MAX_REGION_BYTES = 65536;

/** The regions that hold metadata in a sound image. */
export function metadataRegions(file: string): readonly Region[] {
  const descriptor = openSync(file, "r");
  try {
    return new RegionFinder(descriptor).find();
  } finally {
    closeSync(descriptor);
  }
}

class RegionFinder {
  readonly #descriptor: number;
  readonly #fileSize: number;
  readonly #regions: Region[] = [];
  #clusterSize = 0;

  constructor(descriptor: number) {
    this.#descriptor = descriptor;
    this.#fileSize = fstatSync(descriptor).size;
  }

  find(): readonly Region[] {
    const header = this.#read(0, 112);
    const isVersion3 = header.readUInt32BE(4) === 3;
    this.#clusterSize = 2 ** header.readUInt32BE(20);
    this.#add("header", 0, isVersion3 ? 112 : 72, 4);
    this.#addL1("active L1", Number(header.readBigUInt64BE(40)), header.readUInt32BE(36));
    this.#addRefcounts(Number(header.readBigUInt64BE(48)), header.readUInt32BE(56) * this.#clusterSize);
    this.#addSnapshots(Number(header.readBigUInt64BE(64)), header.readUInt32BE(60));
    if (isVersion3) this.#addBitmaps(header.readUInt32BE(100));
    const hasExtendedL2 = isVersion3 && (header.readUInt32BE(76) & EXTENDED_L2) !== 0;
    return hasExtendedL2 ? this.#regions.map(widenL2) : this.#regions;
  }

  #addL1(kind: string, offset: number, entries: number): void {
    this.#add(kind, offset, entries * 8, 8);
    for (const entry of this.#entries(offset, entries * 8)) {
      const l2Offset = Number(entry & OFFSET_MASK);
      if (l2Offset !== 0) this.#add("L2", l2Offset, this.#clusterSize, 8);
    }
  }

  #addRefcounts(offset: number, length: number): void {
    this.#add("refcount table", offset, Math.min(length, 64), 8);
    // Mostly the refcounts of clusters that the file has.
    const blockBytes = Math.min(this.#clusterSize, Math.ceil(this.#fileSize / this.#clusterSize) * 2 + 8);
    for (const entry of this.#entries(offset, length)) {
      if (entry !== 0n) this.#add("refcount block", Number(entry), blockBytes, 1);
    }
  }

  #addSnapshots(offset: number, count: number): void {
    let at = offset;
    for (let index = 0; index < count; index++) {
      at = Math.ceil(at / 8) * 8;
      const fixed = this.#read(at, 40);
      this.#add("snapshot", at, 64, 4);
      this.#addL1("snapshot L1", Number(fixed.readBigUInt64BE(0)), fixed.readUInt32BE(8));
      at += 40 + fixed.readUInt32BE(36) + fixed.readUInt16BE(12) + fixed.readUInt16BE(14);
    }
  }

  #addBitmaps(extensionsOffset: number): void {
    for (let at = extensionsOffset; at + 8 <= this.#clusterSize; ) {
      const head = this.#read(at, 8);
      const type = head.readUInt32BE(0);
      const length = head.readUInt32BE(4);
      if (type === 0) return;
      if (type === BITMAPS_EXTENSION) {
        const extension = this.#read(at + 8, 24);
        this.#add("bitmaps extension", at + 8, 24, 4);
        this.#addBitmapDirectory(Number(extension.readBigUInt64BE(16)), Number(extension.readBigUInt64BE(8)));
      }
      at += 8 + Math.ceil(length / 8) * 8;
    }
  }

  #addBitmapDirectory(offset: number, length: number): void {
    this.#add("bitmap directory", offset, length, 4);
    for (let at = offset; at < offset + length; ) {
      const entry = this.#read(at, 24);
      this.#add("bitmap table", Number(entry.readBigUInt64BE(0)), entry.readUInt32BE(8) * 8, 8);
      at += Math.ceil((24 + entry.readUInt16BE(18) + entry.readUInt32BE(20)) / 8) * 8;
    }
  }

  #add(kind: string, offset: number, length: number, entryBytes: number): void {
    const present = Math.min(length, MAX_REGION_BYTES, this.#fileSize - offset);
    if (present >= entryBytes) this.#regions.push({ kind, offset, length: present, entryBytes });
  }

  *#entries(offset: number, length: number): Generator<bigint> {
    const table = this.#read(offset, Math.min(length, MAX_REGION_BYTES));
    for (let at = 0; at + 8 <= table.length; at += 8) yield table.readBigUInt64BE(at);
  }

  #read(offset: number, length: number): Buffer {
    const bytes = Buffer.alloc(length);
    readSync(this.#descriptor, bytes, 0, length, offset);
    return bytes;
  }
}

function widenL2(region: Region): Region {
  return region.kind === "L2" ? { ...region, entryBytes: 16 } : region;
}

/** Draws one to four changes, most of them in entries that are in use. */
export function drawDamage(file: string, regions: readonly Region[], seed: number): Edit[] {
  const random = new Random(seed);
  const descriptor = openSync(file, "r");
  try {
    const fileSize = fstatSync(descriptor).size;
    const clusterSize = 2 ** readAt(descriptor, 20, 4).readUInt32BE(0);
    const kinds = [...new Set(regions.map(({ kind }) => kind))];
    const edits: Edit[] = [];
    for (let count = 1 + random.below(4); count > 0; count--) {
      const drawn = random.pick(kinds);
      // Damage to the header mostly keeps an image from being opened at all.
      const kind = drawn === "header" && random.below(4) !== 0 ? "active L1" : drawn;
      const candidates = regions.filter((region) => region.kind === kind);
      if (candidates.length === 0) continue;
      const region = random.pick(candidates);
      const offset = drawEntry(descriptor, region, random);
      if (offset + 8 > fileSize) continue;
      edits.push(
        drawEdit({
          descriptor,
          region,
          offset,
          clusters: Math.ceil(fileSize / clusterSize),
          clusterSize,
          random,
        }),
      );
    }
    return edits;
  } finally {
    closeSync(descriptor);
  }
}

function drawEntry(descriptor: number, region: Region, random: Random): number {
  let offset = region.offset;
  for (let attempt = 0; attempt < 20; attempt++) {
    offset = region.offset + random.below(Math.floor(region.length / region.entryBytes)) * region.entryBytes;
    if (readAt(descriptor, offset, region.entryBytes).some((byte) => byte !== 0)) break;
  }
  return offset;
}

function drawEdit(place: {
  readonly descriptor: number;
  readonly region: Region;
  readonly offset: number;
  readonly clusters: number;
  readonly clusterSize: number;
  readonly random: Random;
}): Edit {
  const { descriptor, region, offset, random } = place;
  const { kind, entryBytes } = region;
  const way = entryBytes < 8 ? 0 : random.below(7);
  if (way <= 2) {
    const bytes = readAt(descriptor, offset, entryBytes);
    const bit = random.below(entryBytes * 8);
    bytes[bit >> 3] = (bytes[bit >> 3] as number) ^ (1 << (bit & 7));
    return { what: `${kind}: bit ${bit}`, offset, bytes: [...bytes] };
  }
  const entry = Buffer.alloc(8);
  const copied = random.below(2) === 1 ? 1n << 63n : 0n;
  if (way === 3) {
    entry.writeBigUInt64BE(BigInt(random.below(place.clusters + 2)) * BigInt(place.clusterSize) + copied);
  } else if (way === 4) {
    entry.writeBigUInt64BE(BigInt.asUintN(64, readAt(descriptor, offset, 8).readBigUInt64BE(0) + 512n));
  } else if (way === 5) {
    entry.writeUInt32BE(random.uint32(), 0);
    entry.writeUInt32BE(random.uint32(), 4);
  }
  return {
    what: `${kind}: ${["another cluster", "512 more", "random", "zero"][way - 3]}`,
    offset,
    bytes: [...entry],
  };
}

function readAt(descriptor: number, offset: number, length: number): Buffer {
  const bytes = Buffer.alloc(length);
  readSync(descriptor, bytes, 0, length, offset);
  return bytes;
}

/** Applies the edits, runs `work`, and puts back what was there before. */
export async function whileDamaged<Result>(
  file: string,
  edits: readonly Edit[],
  work: () => Promise<Result>,
): Promise<Result> {
  const descriptor = openSync(file, "r+");
  try {
    const before = edits.map(({ offset, bytes }) => readAt(descriptor, offset, bytes.length));
    for (const { offset, bytes } of edits) writeSync(descriptor, Buffer.from(bytes), 0, bytes.length, offset);
    const result = await work();
    edits.forEach(({ offset }, index) => {
      const bytes = before[index] as Buffer;
      writeSync(descriptor, bytes, 0, bytes.length, offset);
    });
    return result;
  } finally {
    closeSync(descriptor);
  }
}
