/**
 * Where the structures of a valid image lie, read without the engine: what is broken must not be found by what is
 * tested.
 */

const OFFSET_MASK = 0x00fffffffffffe00n;
const COMPRESSED = 1n << 62n;
const BITMAPS_EXTENSION = 0x23852875;
/** Entries that are looked at; more add nothing. */
const MAX_ENTRIES = 4096;

/** Byte offsets in the file throughout. */
export interface Anatomy {
  readonly clusterSize: number;
  readonly clusterBits: number;
  readonly version: number;
  readonly fileSize: number;
  readonly entryBytes: 8 | 16;
  readonly refcountBits: number;
  readonly extensions: readonly { readonly at: number; readonly length: number }[];
  /** The active L1 table, then those of the snapshots. */
  readonly l1Tables: readonly {
    readonly at: number;
    readonly entries: number;
    readonly used: readonly number[];
  }[];
  readonly l2Tables: readonly { readonly at: number; readonly used: readonly number[] }[];
  readonly compressed: readonly { readonly at: number; readonly length: number }[];
  readonly dataClusters: readonly number[];
  readonly refcountTable: { readonly at: number; readonly entries: number; readonly used: readonly number[] };
  readonly refcountBlocks: readonly number[];
  readonly snapshotTable: number;
  readonly snapshots: readonly {
    readonly at: number;
    readonly extra: number;
    readonly idBytes: number;
    readonly nameBytes: number;
  }[];
  readonly bitmapDirectory: number;
  readonly bitmaps: readonly {
    readonly at: number;
    readonly table: number;
    readonly entries: number;
    readonly data: readonly number[];
    readonly nameBytes: number;
  }[];
}

export function anatomyOf(bytes: Uint8Array): Anatomy {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const version = view.getUint32(4);
  const clusterBits = view.getUint32(20);
  const clusterSize = 2 ** clusterBits;
  const extended = version >= 3 && (view.getUint32(76) & 16) !== 0;
  const entryBytes = extended ? 16 : 8;
  const refcountBits = version < 3 ? 16 : 2 ** view.getUint32(96);
  const { extensions, bitmapsAt } = extensionsOf(view, version, clusterSize);
  const snapshotTable = Number(view.getBigUint64(64));
  const snapshots = snapshotsOf(view, snapshotTable, view.getUint32(60));
  const l1Tables = [
    l1Of(view, Number(view.getBigUint64(40)), view.getUint32(36)),
    ...snapshots.map(({ at }) => l1Of(view, Number(view.getBigUint64(at)), view.getUint32(at + 8))),
  ];
  const l2Offsets = new Set<number>();
  for (const { at, used } of l1Tables) {
    for (const index of used) l2Offsets.add(Number(view.getBigUint64(at + index * 8) & OFFSET_MASK));
  }
  const compressed: { at: number; length: number }[] = [];
  const dataClusters = new Set<number>();
  const hasDataFile = version >= 3 && (view.getUint32(76) & 4) !== 0;
  const l2Tables = [...l2Offsets].map((at) => {
    const used: number[] = [];
    for (let index = 0; index < clusterSize / entryBytes && used.length < MAX_ENTRIES; index++) {
      const entry = view.getBigUint64(at + index * entryBytes);
      if (entry === 0n && (!extended || view.getBigUint64(at + index * entryBytes + 8) === 0n)) continue;
      used.push(index);
      if ((entry & COMPRESSED) !== 0n) compressed.push(compressedOf(entry, clusterBits));
      else if ((entry & OFFSET_MASK) !== 0n && !hasDataFile) dataClusters.add(Number(entry & OFFSET_MASK));
    }
    return { at, used };
  });
  const tableAt = Number(view.getBigUint64(48));
  const tableEntries = (view.getUint32(56) * clusterSize) / 8;
  const refcountTable = { at: tableAt, entries: tableEntries, used: usedOf(view, tableAt, tableEntries) };
  return {
    clusterSize,
    clusterBits,
    version,
    fileSize: bytes.length,
    entryBytes,
    refcountBits,
    extensions,
    l1Tables,
    l2Tables,
    compressed,
    dataClusters: [...dataClusters],
    refcountTable,
    refcountBlocks: refcountTable.used.map((index) =>
      Number(view.getBigUint64(tableAt + index * 8) & OFFSET_MASK),
    ),
    snapshotTable,
    snapshots,
    ...bitmapsOf(view, bitmapsAt),
  };
}

function extensionsOf(
  view: DataView,
  version: number,
  clusterSize: number,
): { readonly extensions: Anatomy["extensions"]; readonly bitmapsAt: number | undefined } {
  const extensions: { at: number; length: number }[] = [];
  let bitmapsAt: number | undefined;
  const nameAt = Number(view.getBigUint64(8));
  const end = nameAt > 0 ? nameAt : Math.min(clusterSize, view.byteLength);
  for (let at = version < 3 ? 72 : view.getUint32(100); at + 8 <= end; ) {
    const type = view.getUint32(at);
    const length = view.getUint32(at + 4);
    extensions.push({ at, length });
    if (type === 0) break;
    if (type === BITMAPS_EXTENSION) bitmapsAt = at + 8;
    at += 8 + Math.ceil(length / 8) * 8;
  }
  return { extensions, bitmapsAt };
}

function snapshotsOf(view: DataView, table: number, count: number): Anatomy["snapshots"] {
  const snapshots: Anatomy["snapshots"][number][] = [];
  for (let index = 0, at = table; index < count; index++) {
    const [idBytes, nameBytes, extra] = [
      view.getUint16(at + 12),
      view.getUint16(at + 14),
      view.getUint32(at + 36),
    ];
    snapshots.push({ at, extra, idBytes, nameBytes });
    at = Math.ceil((at + 40 + extra + idBytes + nameBytes) / 8) * 8;
  }
  return snapshots;
}

function l1Of(view: DataView, at: number, entries: number): Anatomy["l1Tables"][number] {
  return { at, entries, used: usedOf(view, at, entries) };
}

/** Indexes of the entries of 8 bytes that are not 0. */
function usedOf(view: DataView, at: number, entries: number): number[] {
  const used: number[] = [];
  for (let index = 0; index < Math.min(entries, MAX_ENTRIES); index++) {
    if ((view.getBigUint64(at + index * 8) & OFFSET_MASK) !== 0n) used.push(index);
  }
  return used;
}

function compressedOf(entry: bigint, clusterBits: number): { readonly at: number; readonly length: number } {
  const offsetBits = BigInt(62 - (clusterBits - 8));
  const at = Number(entry & ((1n << offsetBits) - 1n));
  const sectors = Number((entry & (COMPRESSED - 1n)) >> offsetBits) + 1;
  return { at, length: sectors * 512 - (at % 512) };
}

function bitmapsOf(
  view: DataView,
  extension: number | undefined,
): Pick<Anatomy, "bitmapDirectory" | "bitmaps"> {
  if (extension === undefined) return { bitmapDirectory: 0, bitmaps: [] };
  const bitmapDirectory = Number(view.getBigUint64(extension + 16));
  const bitmaps: Anatomy["bitmaps"][number][] = [];
  for (let index = 0, at = bitmapDirectory; index < view.getUint32(extension); index++) {
    const table = Number(view.getBigUint64(at));
    const entries = view.getUint32(at + 8);
    const nameBytes = view.getUint16(at + 18);
    const data = usedOf(view, table, entries).map((entry) =>
      Number(view.getBigUint64(table + entry * 8) & OFFSET_MASK),
    );
    bitmaps.push({ at, table, entries, data, nameBytes });
    at = Math.ceil((at + 24 + view.getUint32(at + 20) + nameBytes) / 8) * 8;
  }
  return { bitmapDirectory, bitmaps };
}
