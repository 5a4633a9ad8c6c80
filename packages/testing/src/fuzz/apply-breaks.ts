/** Breaks an image: changes bytes where its structures are. */
import { Random } from "../random.ts";
import type { Anatomy } from "./anatomy.ts";
import type { Break, BreakChange, BreakPlace } from "./fuzz-case.ts";

/** Header fields: where each is, and its bytes. */
export const HEADER_FIELDS: Readonly<Record<string, readonly [at: number, bytes: 1 | 2 | 4 | 8]>> = {
  version: [4, 4],
  backingFileOffset: [8, 8],
  backingFileSize: [16, 4],
  clusterBits: [20, 4],
  size: [24, 8],
  cryptMethod: [32, 4],
  l1Size: [36, 4],
  l1TableOffset: [40, 8],
  refcountTableOffset: [48, 8],
  refcountTableClusters: [56, 4],
  snapshotCount: [60, 4],
  snapshotsOffset: [64, 8],
  incompatibleFeatures: [72, 8],
  compatibleFeatures: [80, 8],
  autoclearFeatures: [88, 8],
  refcountOrder: [96, 4],
  headerLength: [100, 4],
  compressionType: [104, 1],
};

/** Fields of a snapshot table entry; "extra" and "text" depend on where it ends. */
export const SNAPSHOT_FIELDS: Readonly<Record<string, readonly [at: number, bytes: 1 | 2 | 4 | 8]>> = {
  l1Offset: [0, 8],
  l1Size: [8, 4],
  idSize: [12, 2],
  nameSize: [14, 2],
  vmStateSize: [32, 4],
  extraSize: [36, 4],
  vmStateSizeLarge: [40, 8],
  diskSize: [48, 8],
  icount: [56, 8],
  text: [64, 1],
};

/** Fields of a bitmap directory entry, and of the extension that points at the directory. */
export const BITMAP_FIELDS: Readonly<Record<string, readonly [at: number, bytes: 1 | 2 | 4 | 8]>> = {
  table: [0, 8],
  tableSize: [8, 4],
  flags: [12, 4],
  type: [16, 1],
  granularity: [17, 1],
  nameSize: [18, 2],
  extraSize: [20, 4],
  name: [24, 1],
};

const OFFSET_MASK = 0x00fffffffffffe00n;

/** The broken bytes; `bytes` stay as they are. */
export function applyBreaks(bytes: Uint8Array, anatomy: Anatomy, breaks: readonly Break[]): Uint8Array {
  let broken: Uint8Array = bytes.slice();
  for (const { where, change } of breaks) {
    if (where.kind === "end") broken = changeEnd(broken, where);
    else if (where.kind === "refcount") setRefcount(broken, anatomy, where);
    else changeField(broken, anatomy, fieldOf(anatomy, where), change);
  }
  return broken;
}

function changeEnd(
  bytes: Uint8Array,
  { bytes: by, content }: Extract<BreakPlace, { kind: "end" }>,
): Uint8Array {
  if (by <= 0) return bytes.slice(0, Math.max(0, bytes.length + by));
  const longer = new Uint8Array(bytes.length + by);
  longer.set(bytes);
  if (content === "zeroes") return longer;
  const random = new Random(by);
  for (let at = bytes.length; at < longer.length; at++) longer[at] = random.uint32();
  return longer;
}

interface Field {
  readonly at: number;
  readonly bytes: 1 | 2 | 4 | 8;
}

function fieldOf(
  anatomy: Anatomy,
  where: Exclude<BreakPlace, { kind: "end" | "refcount" }>,
): Field | undefined {
  switch (where.kind) {
    case "header":
      return named(HEADER_FIELDS, where.field, 0);
    case "extension": {
      const extension = pickOf(anatomy.extensions, where.pick);
      if (extension === undefined) return undefined;
      if (where.part === "type") return { at: extension.at, bytes: 4 };
      if (where.part === "length") return { at: extension.at + 4, bytes: 4 };
      return { at: extension.at + 8 + (where.pick % Math.max(1, extension.length)), bytes: 1 };
    }
    case "l1": {
      const table = pickOf(anatomy.l1Tables, where.tree);
      if (table === undefined || table.entries === 0) return undefined;
      const index = (where.used ? pickOf(table.used, where.pick) : undefined) ?? where.pick % table.entries;
      return { at: table.at + index * 8, bytes: 8 };
    }
    case "l2":
    case "subclusters": {
      const table = pickOf(anatomy.l2Tables, where.table);
      if (table === undefined) return undefined;
      const { clusterSize, entryBytes } = anatomy;
      const index =
        (where.used ? pickOf(table.used, where.pick) : undefined) ?? where.pick % (clusterSize / entryBytes);
      const at = table.at + index * entryBytes;
      return { at: where.kind === "subclusters" && entryBytes === 16 ? at + 8 : at, bytes: 8 };
    }
    case "compressed-data": {
      const stream = pickOf(anatomy.compressed, where.table);
      return stream && { at: stream.at + (where.pick % stream.length), bytes: 1 };
    }
    case "refcount-table": {
      const { at, entries, used } = anatomy.refcountTable;
      const index =
        where.pick % 4 === 0 ? where.pick % Math.max(1, entries) : (pickOf(used, where.pick) ?? 0);
      return { at: at + index * 8, bytes: 8 };
    }
    case "refcount-block": {
      const block = pickOf(anatomy.refcountBlocks, where.pick);
      return block === undefined ? undefined : { at: block + (where.byte % anatomy.clusterSize), bytes: 1 };
    }
    case "snapshot": {
      const snapshot = pickOf(anatomy.snapshots, where.pick);
      return snapshot && named(SNAPSHOT_FIELDS, where.field, snapshot.at);
    }
    case "bitmap": {
      const bitmap = pickOf(anatomy.bitmaps, where.pick);
      return bitmap && named(BITMAP_FIELDS, where.field, bitmap.at);
    }
    case "bitmap-table": {
      const bitmap = pickOf(anatomy.bitmaps, where.bitmap);
      return bitmap && { at: bitmap.table + (where.pick % bitmap.entries) * 8, bytes: 8 };
    }
    case "bitmap-data": {
      const data = pickOf(pickOf(anatomy.bitmaps, where.bitmap)?.data ?? [], where.pick);
      return data === undefined ? undefined : { at: data + (where.pick % anatomy.clusterSize), bytes: 1 };
    }
  }
}

function named(
  fields: Readonly<Record<string, readonly [at: number, bytes: 1 | 2 | 4 | 8]>>,
  name: string,
  start: number,
): Field | undefined {
  const field = fields[name];
  return field && { at: start + field[0], bytes: field[1] };
}

function pickOf<Value>(choices: readonly Value[], pick: number): Value | undefined {
  return choices.length === 0 ? undefined : choices[pick % choices.length];
}

function changeField(
  bytes: Uint8Array,
  anatomy: Anatomy,
  field: Field | undefined,
  change: BreakChange,
): void {
  if (field === undefined || field.at + field.bytes > bytes.length) return;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  let old = 0n;
  for (let at = 0; at < field.bytes; at++) old = (old << 8n) | BigInt(view.getUint8(field.at + at));
  let next = newValue(old, anatomy, field, change);
  for (let at = field.bytes - 1; at >= 0; at--, next >>= 8n)
    view.setUint8(field.at + at, Number(next & 0xffn));
}

function newValue(old: bigint, anatomy: Anatomy, { at, bytes }: Field, change: BreakChange): bigint {
  switch (change.kind) {
    case "value":
      return BigInt(change.hex);
    case "flip":
      return old ^ (1n << BigInt(change.bit % (bytes * 8)));
    case "add":
      return old + BigInt(change.amount) < 0n ? 0n : old + BigInt(change.amount);
    case "point": {
      const places = placesOf(anatomy, at);
      const target = BigInt(places[change.pick % places.length]! + change.plus);
      return change.keepFlags ? (old & ~OFFSET_MASK) | target : target;
    }
    case "behind": {
      const end = Math.ceil(anatomy.fileSize / anatomy.clusterSize);
      const target = BigInt((end + change.clusters) * anatomy.clusterSize);
      return change.keepFlags ? (old & ~OFFSET_MASK) | target : target;
    }
  }
}

/** Where an entry may point, besides where it should: one of each kind weighs as much as all of another. */
function placesOf(anatomy: Anatomy, own: number): number[] {
  const some = (offsets: readonly number[]): number[] => {
    if (offsets.length <= 4) return [...offsets];
    const third = Math.floor(offsets.length / 3);
    return [offsets[0]!, offsets[third]!, offsets[2 * third]!, offsets[offsets.length - 1]!];
  };
  return [
    0,
    Math.floor(own / anatomy.clusterSize) * anatomy.clusterSize,
    ...some(anatomy.l1Tables.map(({ at }) => at)),
    ...some(anatomy.l2Tables.map(({ at }) => at)),
    anatomy.refcountTable.at,
    ...some(anatomy.refcountBlocks),
    ...some(anatomy.dataClusters),
    ...some(anatomy.compressed.map(({ at }) => at)),
    ...(anatomy.snapshots.length > 0 ? [anatomy.snapshotTable] : []),
    ...(anatomy.bitmaps.length > 0 ? [anatomy.bitmapDirectory] : []),
    ...some(anatomy.bitmaps.map(({ table }) => table)),
    ...some(anatomy.bitmaps.flatMap(({ data }) => data)),
    Math.floor(anatomy.fileSize / anatomy.clusterSize) * anatomy.clusterSize,
  ];
}

/** A refcount of a cluster that is in use, or of any. */
function setRefcount(
  bytes: Uint8Array,
  anatomy: Anatomy,
  { pick, value }: Extract<BreakPlace, { kind: "refcount" }>,
): void {
  const { clusterSize, refcountBits, refcountTable } = anatomy;
  const clusters = Math.ceil(anatomy.fileSize / clusterSize);
  const cluster = pick % clusters;
  const perBlock = (clusterSize * 8) / refcountBits;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const entryAt = refcountTable.at + Math.floor(cluster / perBlock) * 8;
  if (entryAt + 8 > bytes.length) return;
  const block = Number(view.getBigUint64(entryAt) & OFFSET_MASK);
  const bit = (cluster % perBlock) * refcountBits;
  const at = block + Math.floor(bit / 8);
  if (block === 0 || at + Math.ceil(refcountBits / 8) > bytes.length) return;
  if (refcountBits < 8) {
    const mask = 2 ** refcountBits - 1;
    const shift = bit % 8;
    view.setUint8(at, (view.getUint8(at) & ~(mask << shift)) | ((value & mask) << shift));
    return;
  }
  let rest = BigInt(value);
  for (let index = refcountBits / 8 - 1; index >= 0; index--, rest >>= 8n) {
    view.setUint8(at + index, Number(rest & 0xffn));
  }
}
