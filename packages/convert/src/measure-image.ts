import {
  type BitmapInfo,
  type Disk,
  encodeText,
  type ImageOptions,
  Qcow2Error,
  Qcow2Image,
} from "@qcow2/core";
import { type LuksCipher, luksHeaderBytes } from "./luks-header.ts";

const DEFAULT_CLUSTER_SIZE = 65536;
const MIN_CLUSTER_SIZE = 512;
const MAX_CLUSTER_SIZE = 2 ** 21;
const MIN_EXTENDED_L2_CLUSTER_SIZE = 2 ** 14;
const MAX_L1_BYTES = 32 * 2 ** 20;
const DEFAULT_REFCOUNT_BITS = 16;
const SECTOR_SIZE = 512;
/** Bytes of an entry of the L1 table, the refcount table and a bitmap table. */
const TABLE_ENTRY_BYTES = 8;
/** Bytes of a bitmap directory entry without its name (specification: "Bitmap directory"). */
const BITMAP_ENTRY_BYTES = 24;

export interface MeasureOptions {
  /** Virtual size of an empty image, bytes. Exactly one of `size` and `source` is given. */
  readonly size?: number | undefined;
  /** The disk that the new image is to hold. */
  readonly source?: Disk | undefined;
  /** "raw" or "qcow2". */
  readonly targetFormat: string;
  /** How the new image is to be created; only for "qcow2". */
  readonly options?: ImageOptions | undefined;
  /** The new image is to have a backing file. How much of the source that holds is not known, so all is counted. */
  readonly hasBackingFile?: boolean | undefined;
  /** The new image is to be encrypted with LUKS, whose header is in the image, too. QEMU's older AES takes no space. */
  readonly luks?: LuksCipher | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Bytes of the image file. */
export interface Measurement {
  /** For what the source holds now, or for an empty image. */
  readonly required: number;
  /** When the guest has written everything. */
  readonly fullyAllocated: number;
  /** For the source's persistent bitmaps, where both formats can hold them. */
  readonly bitmaps?: number;
}

/**
 * How large the file of a new image will be, by QEMU's estimate: tables are counted as if all data were there.
 * @throws Qcow2Error "invalid-option" for options that no image can have; "limit-exceeded" if the L1 table would be
 * too large; "unsupported-format" for other formats.
 */
export async function measureImage(options: MeasureOptions): Promise<Measurement> {
  if ((options.size === undefined) === (options.source === undefined)) {
    throw new TypeError("measureImage needs either a size or a source");
  }
  if (options.targetFormat === "raw") return measureRaw(options);
  if (options.targetFormat === "qcow2") return await measureQcow2(options);
  throw new Qcow2Error(
    "unsupported-format",
    `Block driver '${options.targetFormat}' does not support size measurement`,
    { format: options.targetFormat },
  );
}

function measureRaw({ size = 0, source }: MeasureOptions): Measurement {
  const bytes = source?.size ?? roundUp(size, SECTOR_SIZE);
  return { required: bytes, fullyAllocated: bytes };
}

async function measureQcow2(options: MeasureOptions): Promise<Measurement> {
  const { source } = options;
  const layout = layoutOf(options.options ?? {});
  if (source === undefined) requireL1Fits(options.size ?? 0, layout);
  const virtualSize = roundUp(source?.size ?? options.size ?? 0, layout.clusterSize);
  const luksBytes = options.luks === undefined ? 0 : luksHeaderBytes(options.luks);
  const fullyAllocated = fullyAllocatedSize(virtualSize, layout) + roundUp(luksBytes, layout.clusterSize);
  const required = fullyAllocated - virtualSize + (await dataSize(options, virtualSize, layout));
  const bitmaps = source === undefined || layout.version < 3 ? undefined : bitmapsOf(source);
  if (bitmaps === undefined) return { required, fullyAllocated };
  return { required, fullyAllocated, bitmaps: bitmapsSize(bitmaps, layout.clusterSize) };
}

interface Layout {
  readonly version: 2 | 3;
  readonly clusterSize: number;
  readonly refcountBits: number;
  readonly l2EntryBytes: number;
}

function layoutOf(options: ImageOptions): Layout {
  const { version = 3, clusterSize = DEFAULT_CLUSTER_SIZE, refcountBits = DEFAULT_REFCOUNT_BITS } = options;
  const extendedL2 = options.extendedL2 ?? false;
  if (!isPowerOfTwo(clusterSize) || clusterSize < MIN_CLUSTER_SIZE || clusterSize > MAX_CLUSTER_SIZE) {
    throw invalid("clusterSize", "Cluster size must be a power of two between 512 and 2048k");
  }
  if (extendedL2 && clusterSize < MIN_EXTENDED_L2_CLUSTER_SIZE) {
    throw invalid(
      "extendedL2",
      "Extended L2 entries are only supported with cluster sizes of at least 16384 bytes",
    );
  }
  if (!isPowerOfTwo(refcountBits) || refcountBits > 64) {
    throw invalid("refcountBits", "Refcount width must be a power of two and may not exceed 64 bits");
  }
  if (version < 3 && refcountBits !== DEFAULT_REFCOUNT_BITS) {
    throw invalid(
      "refcountBits",
      "Different refcount widths than 16 bits require compatibility level 1.1 or above (use compat=1.1 or greater)",
    );
  }
  return { version, clusterSize, refcountBits, l2EntryBytes: extendedL2 ? 16 : 8 };
}

function requireL1Fits(size: number, { clusterSize, l2EntryBytes }: Layout): void {
  const l1Entries = Math.ceil(Math.ceil(size / clusterSize) / (clusterSize / l2EntryBytes));
  if (l1Entries * TABLE_ENTRY_BYTES <= MAX_L1_BYTES) return;
  throw new Qcow2Error("limit-exceeded", "The image size is too large (try using a larger cluster size)", {
    what: "L1 table",
    found: l1Entries * TABLE_ENTRY_BYTES,
    maximum: MAX_L1_BYTES,
  });
}

/** Header, all L1 and L2 tables, refcounts for everything, and every guest cluster. */
function fullyAllocatedSize(
  virtualSize: number,
  { clusterSize, l2EntryBytes, refcountBits }: Layout,
): number {
  const l2Bytes = roundUp((virtualSize / clusterSize) * l2EntryBytes, clusterSize);
  const l1Bytes = roundUp((l2Bytes / clusterSize) * TABLE_ENTRY_BYTES, clusterSize);
  const bytes = clusterSize + l2Bytes + l1Bytes + virtualSize;
  return bytes + refcountSize(bytes / clusterSize, clusterSize, refcountBits);
}

/** Bytes of refcount blocks and table for `clusters` and for themselves: the smallest that suffice. */
function refcountSize(clusters: number, clusterSize: number, refcountBits: number): number {
  const refcountsPerBlock = (clusterSize * 8) / refcountBits;
  const blocksPerTableCluster = clusterSize / TABLE_ENTRY_BYTES;
  let own = 0;
  for (;;) {
    const blocks = Math.ceil((clusters + own) / refcountsPerBlock);
    const needed = blocks + Math.ceil(blocks / blocksPerTableCluster);
    if (needed === own) return own * clusterSize;
    own = needed;
  }
}

/** Bytes of the data clusters that will be there from the start. */
async function dataSize(options: MeasureOptions, virtualSize: number, layout: Layout): Promise<number> {
  const { preallocation = "off" } = options.options ?? {};
  if (preallocation === "falloc" || preallocation === "full") return virtualSize;
  if (options.source === undefined) return 0;
  if (options.hasBackingFile === true) return virtualSize;
  return await touchedClusters(options.source, layout.clusterSize, options.signal);
}

/** Bytes of all clusters in which the source holds any data. */
async function touchedClusters(
  source: Disk,
  clusterSize: number,
  signal: AbortSignal | undefined,
): Promise<number> {
  let bytes = 0;
  let counted = 0;
  for await (const extent of source.map({ signal })) {
    if (extent.kind === "zero" || !extent.stored) continue;
    const start = Math.max(counted, Math.floor(extent.offset / clusterSize) * clusterSize);
    const end = roundUp(extent.offset + extent.length, clusterSize);
    if (end <= start) continue;
    bytes += end - start;
    counted = end;
  }
  return bytes;
}

/** The source's bitmaps; undefined if its format cannot have any. */
function bitmapsOf(
  source: Disk,
): { readonly diskSize: number; readonly bitmaps: readonly BitmapInfo[] } | undefined {
  if (!(source instanceof Qcow2Image)) return undefined;
  const info = source.info();
  return info.version < 3 ? undefined : { diskSize: info.virtualSize, bitmaps: info.bitmaps };
}

/** Bytes of bitmap data, tables and directory, with every bitmap fully allocated. */
function bitmapsSize(
  { diskSize, bitmaps }: { readonly diskSize: number; readonly bitmaps: readonly BitmapInfo[] },
  clusterSize: number,
): number {
  let bytes = 0;
  let directoryBytes = 0;
  for (const { name, granularity } of bitmaps) {
    const dataBytes = Math.ceil(Math.ceil(diskSize / granularity) / 8);
    const clusters = Math.ceil(dataBytes / clusterSize);
    bytes += clusters * clusterSize + roundUp(clusters * TABLE_ENTRY_BYTES, clusterSize);
    directoryBytes += roundUp(BITMAP_ENTRY_BYTES + encodeText(name).length, 8);
  }
  return bytes + roundUp(directoryBytes, clusterSize);
}

function invalid(option: string, message: string): Qcow2Error {
  return new Qcow2Error("invalid-option", message, { option });
}

function isPowerOfTwo(value: number): boolean {
  return Number.isInteger(Math.log2(value));
}

function roundUp(value: number, multiple: number): number {
  return Math.ceil(value / multiple) * multiple;
}
