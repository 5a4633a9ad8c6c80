/** Reads and validates everything that the header of an image says, before anything else is believed. */
import type { CompressionType } from "../codec/codec.ts";
import { Qcow2Error } from "../errors.ts";
import {
  AUTOCLEAR_BITMAPS,
  FEATURE_TYPE_INCOMPATIBLE,
  INCOMPATIBLE_COMPRESSION_TYPE,
  INCOMPATIBLE_DATA_FILE,
  INCOMPATIBLE_EXTENDED_L2,
  incompatibleFeatureNames,
  knownFeatureMask,
  type NamedFeature,
} from "../format/feature-bits.ts";
import { createGeometry, type Geometry, l1EntriesFor } from "../format/geometry.ts";
import { decodeHeader, HEADER_V3_MIN_BYTES, type Header } from "../format/header.ts";
import {
  type BitmapsExtension,
  decodeBitmapsExtension,
  decodeFeatureNames,
  decodeHeaderExtensions,
  EXTENSION_BACKING_FORMAT,
  EXTENSION_BITMAPS,
  EXTENSION_DATA_FILE,
  EXTENSION_FEATURE_NAMES,
  type HeaderExtension,
} from "../format/header-extensions.ts";
import { L1_ENTRY_BYTES } from "../format/l1-entry.ts";
import { decodeText } from "../format/stored-text.ts";
import {
  MAX_BACKING_NAME_BYTES,
  MAX_CLUSTER_BITS,
  MAX_CLUSTER_SIZE,
  MAX_L1_BYTES,
  MAX_REFCOUNT_ORDER,
  MAX_REFCOUNT_TABLE_BYTES,
  MAX_SNAPSHOTS,
  MIN_CLUSTER_BITS,
  MIN_EXTENDED_L2_CLUSTER_BITS,
} from "../limits.ts";
import { assertPosition } from "../storage/read-exactly.ts";
import type { Storage } from "../storage/storage.ts";

/** A table in the image file; offset and length in bytes. */
export interface TableLocation {
  readonly offset: number;
  readonly length: number;
}

/** The header's content, checked and in convenient types. */
export interface ImageLayout {
  readonly header: Header;
  readonly geometry: Geometry;
  readonly extensions: readonly HeaderExtension[];
  readonly virtualSize: number;
  readonly l1Table: TableLocation;
  readonly refcountTable: TableLocation;
  readonly snapshotsOffset: number;
  readonly compressionType: CompressionType;
  readonly backingFile: string | undefined;
  readonly backingFormat: string | undefined;
  /** True if guest clusters lie in an external data file. */
  readonly hasDataFile: boolean;
  readonly dataFile: string | undefined;
  /** Present only if the autoclear bit vouches for it. */
  readonly bitmaps: BitmapsExtension | undefined;
}

/** No L1 table has more entries in QEMU, however large it may become. */
const MAX_L1_INDEX: bigint = 2n ** 31n - 1n;

/**
 * Reads the header of `storage` and checks every field against the specification and against the file's size. With
 * `forCheck`, tables may lie where there is nothing and the snapshot table is not looked at: finding that is what the
 * check is for.
 * @throws Qcow2Error "not-qcow2", "unsupported-version", "unsupported-feature", "invalid-image", "truncated",
 *   "limit-exceeded", "unsafe-offset"
 */
export async function readImageLayout(
  storage: Storage,
  { forCheck = false }: { readonly forCheck?: boolean } = {},
): Promise<ImageLayout> {
  const bytes = await readFirstCluster(storage);
  return decodeImageLayout(bytes, forCheck ? undefined : await storage.size());
}

/** As {@link readImageLayout}, from the bytes of the first cluster; without `fileSize` as `forCheck`. */
export function decodeImageLayout(bytes: Uint8Array, fileSize: number | undefined): ImageLayout {
  const header = decodeHeader(bytes);
  checkClusterBits(header);
  const clusterSize = 2 ** header.clusterBits;
  if (header.backingFileOffset > BigInt(clusterSize)) {
    throw invalid("backing file offset", "Invalid backing file offset", header.backingFileOffset);
  }
  const backingOffset = Number(header.backingFileOffset);
  const extensionsEnd = backingOffset > 0 ? backingOffset : clusterSize;
  const decodedExtensions = tryDecodeExtensions(bytes, header.headerLength, extensionsEnd);
  checkFeatures(header, decodedExtensions);
  const extensions = decodeHeaderExtensions(bytes, header.headerLength, extensionsEnd);
  checkRefcountOrder(header);
  const extendedL2 = (header.incompatibleFeatures & INCOMPATIBLE_EXTENDED_L2) !== 0n;
  if (extendedL2 && header.clusterBits < MIN_EXTENDED_L2_CLUSTER_BITS) {
    throw invalid("extended L2", `Extended L2 entries need clusters of at least 16 KiB`, clusterSize);
  }
  if (header.cryptMethod > 2) {
    throw invalid(
      "encryption method",
      `Unsupported encryption method ${header.cryptMethod}`,
      header.cryptMethod,
    );
  }
  const geometry = createGeometry({
    clusterBits: header.clusterBits,
    refcountOrder: header.refcountOrder,
    extendedL2,
  });
  const virtualSize = virtualSizeOf(header, geometry);
  const refcountTable = checkRefcountTable(header, clusterSize, fileSize);
  const l1Table = checkL1Table(header, geometry, virtualSize, fileSize);
  const snapshotsOffset =
    fileSize === undefined ? Number(header.snapshotsOffset) : checkSnapshots(header, clusterSize);
  const hasDataFile = (header.incompatibleFeatures & INCOMPATIBLE_DATA_FILE) !== 0n;
  return {
    header,
    geometry,
    extensions,
    virtualSize,
    l1Table,
    refcountTable,
    snapshotsOffset,
    compressionType: compressionTypeOf(header),
    backingFile: backingNameOf(header, bytes, clusterSize),
    backingFormat: textExtension(extensions, EXTENSION_BACKING_FORMAT),
    hasDataFile,
    dataFile: hasDataFile ? textExtension(extensions, EXTENSION_DATA_FILE) : undefined,
    bitmaps: bitmapsOf(header, extensions),
  };
}

/** Header, extensions and backing name all lie in the first cluster; its size is not known before it is read. */
export async function readFirstCluster(storage: Storage): Promise<Uint8Array> {
  const start = new Uint8Array(HEADER_V3_MIN_BYTES);
  const startLength = await storage.read(0, start);
  if (startLength < start.length) return start.subarray(0, startLength);
  const clusterBits = new DataView(start.buffer).getUint32(20);
  const clusterSize =
    clusterBits >= MIN_CLUSTER_BITS && clusterBits <= MAX_CLUSTER_BITS ? 2 ** clusterBits : 512;
  const bytes = new Uint8Array(Math.min(clusterSize, MAX_CLUSTER_SIZE));
  return bytes.subarray(0, await storage.read(0, bytes));
}

function checkClusterBits({ clusterBits }: Header): void {
  if (clusterBits < MIN_CLUSTER_BITS || clusterBits > MAX_CLUSTER_BITS) {
    throw invalid("cluster_bits", `Unsupported cluster size: 2^${clusterBits}`, clusterBits);
  }
}

function checkRefcountOrder({ refcountOrder }: Header): void {
  if (refcountOrder > MAX_REFCOUNT_ORDER) {
    throw invalid(
      "refcount_order",
      "Reference count entry width too large; may not exceed 64 bits",
      refcountOrder,
    );
  }
}

/** Extensions for naming unknown features; if they are damaged, the features are named by their numbers. */
function tryDecodeExtensions(bytes: Uint8Array, start: number, end: number): readonly HeaderExtension[] {
  try {
    return decodeHeaderExtensions(bytes, start, end);
  } catch (error) {
    if (error instanceof Qcow2Error) return [];
    throw error;
  }
}

function checkFeatures(header: Header, extensions: readonly HeaderExtension[]): void {
  const unknown = header.incompatibleFeatures & ~knownFeatureMask(FEATURE_TYPE_INCOMPATIBLE);
  if (unknown === 0n) return;
  // Of several tables the last counts, as in QEMU.
  const table = extensions.findLast(({ type }) => type === EXTENSION_FEATURE_NAMES);
  const names: readonly NamedFeature[] = table === undefined ? [] : decodeFeatureNames(table.data);
  const features = incompatibleFeatureNames(unknown, names);
  throw new Qcow2Error("unsupported-feature", `Unsupported qcow2 feature(s): ${features.join(", ")}`, {
    features,
  });
}

function checkRefcountTable(
  header: Header,
  clusterSize: number,
  fileSize: number | undefined,
): TableLocation {
  const offset = safe(header.refcountTableOffset, "refcount table offset");
  const length = header.refcountTableClusters * clusterSize;
  if (length === 0 && fileSize !== undefined) {
    throw invalid("refcount table", "Image does not contain a reference count table", 0);
  }
  if (length > MAX_REFCOUNT_TABLE_BYTES) {
    throw new Qcow2Error("limit-exceeded", "Reference count table too large", {
      what: "refcount table bytes",
      found: length,
      maximum: MAX_REFCOUNT_TABLE_BYTES,
    });
  }
  checkTable("Reference count table", { offset, length }, clusterSize, fileSize);
  return { offset, length };
}

function checkL1Table(
  header: Header,
  geometry: Geometry,
  virtualSize: number,
  fileSize: number | undefined,
): TableLocation {
  const offset = safe(header.l1TableOffset, "L1 table offset");
  const length = header.l1Size * L1_ENTRY_BYTES;
  if (length > MAX_L1_BYTES) {
    throw new Qcow2Error("limit-exceeded", "Active L1 table too large", {
      what: "L1 table bytes",
      found: length,
      maximum: MAX_L1_BYTES,
    });
  }
  if (header.l1Size < l1EntriesFor(geometry, virtualSize)) {
    throw invalid("L1 table", "L1 table is too small", header.l1Size);
  }
  if (length > 0) checkTable("Active L1 table", { offset, length }, geometry.clusterSize, fileSize);
  return { offset, length };
}

/** Its length is only known by reading it. */
function checkSnapshots(header: Header, clusterSize: number): number {
  if (header.snapshotCount > MAX_SNAPSHOTS) {
    throw new Qcow2Error("limit-exceeded", "Snapshot table too large", {
      what: "snapshots",
      found: header.snapshotCount,
      maximum: MAX_SNAPSHOTS,
    });
  }
  const offset = safe(header.snapshotsOffset, "snapshot table offset");
  if (offset % clusterSize !== 0) {
    throw invalid("snapshot table offset", "Snapshot table offset invalid", offset);
  }
  return offset;
}

/**
 * A table must be cluster-aligned and lie within the file, so that no claim of the header is allocated on trust.
 * Without a file size, only what makes it impossible to look at is refused.
 */
export function checkTable(
  structure: string,
  table: TableLocation,
  clusterSize: number,
  fileSize: number | undefined,
): void {
  assertPosition(table.offset, table.length, structure);
  if ((table.offset === 0 && fileSize !== undefined) || table.offset % clusterSize !== 0) {
    throw invalid(structure, `${structure} offset invalid`, table.offset);
  }
  if (fileSize !== undefined && table.offset + table.length > fileSize) {
    throw new Qcow2Error(
      "truncated",
      `${structure} (${table.length} bytes at offset ${table.offset}) lies beyond the end of the file (${fileSize} bytes)`,
      { structure, offset: table.offset, length: table.length, fileSize },
    );
  }
}

function compressionTypeOf(header: Header): CompressionType {
  const flagged = (header.incompatibleFeatures & INCOMPATIBLE_COMPRESSION_TYPE) !== 0n;
  if (header.compressionType > 1) {
    throw invalid(
      "compression type",
      `qcow2: unknown compression type: ${header.compressionType}`,
      header.compressionType,
    );
  }
  if (flagged !== (header.compressionType !== 0)) {
    throw invalid(
      "compression type",
      `qcow2: Compression type incompatible feature bit must ${flagged ? "not " : ""}be set`,
      header.compressionType,
    );
  }
  return header.compressionType === 1 ? "zstd" : "zlib";
}

/** The backing file's name; undefined for none. @throws Qcow2Error "invalid-image" */
export function backingNameOf(header: Header, bytes: Uint8Array, clusterSize: number): string | undefined {
  const offset = Number(header.backingFileOffset);
  if (offset === 0) return undefined;
  const length = header.backingFileSize;
  if (length > Math.min(MAX_BACKING_NAME_BYTES, clusterSize - offset) || offset + length > bytes.length) {
    throw invalid("backing file name", "Backing file name too long", length);
  }
  return length === 0 ? undefined : decodeText(bytes.subarray(offset, offset + length));
}

function bitmapsOf(header: Header, extensions: readonly HeaderExtension[]): BitmapsExtension | undefined {
  if ((header.autoclearFeatures & AUTOCLEAR_BITMAPS) === 0n) return undefined;
  const extension = extensions.find(({ type }) => type === EXTENSION_BITMAPS);
  return extension === undefined ? undefined : decodeBitmapsExtension(extension.data);
}

/** Of repeated extensions the last counts, as for QEMU. */
function textExtension(extensions: readonly HeaderExtension[], type: number): string | undefined {
  const extension = extensions.findLast((candidate) => candidate.type === type);
  return extension === undefined ? undefined : decodeText(extension.data);
}

function virtualSizeOf({ size }: Header, { l2Coverage }: Geometry): number {
  if (size / BigInt(l2Coverage) > MAX_L1_INDEX) throw invalid("virtual size", "Image is too big", size);
  return safe(size, "virtual size");
}

function safe(value: bigint, structure: string): number {
  if (value <= BigInt(Number.MAX_SAFE_INTEGER)) return Number(value);
  throw new Qcow2Error("unsafe-offset", `The ${structure}, 0x${value.toString(16)}, is beyond 2^53 - 1`, {
    structure,
    found: value,
  });
}

function invalid(structure: string, message: string, found: number | bigint): Qcow2Error {
  return new Qcow2Error("invalid-image", message, { structure, found });
}
