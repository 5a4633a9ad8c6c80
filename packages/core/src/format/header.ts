/** The fixed part of the image header (specification: "Header"). Pure: bytes to values and back. */
import { Qcow2Error } from "../errors.ts";
import { viewOf } from "./uint64.ts";

/** "QFI\xfb". */
export const QCOW2_MAGIC = 0x514649fb;
/** A version 2 header ends here, and so do the fields that both versions have. */
export const HEADER_V2_BYTES = 72;
/** The shortest version 3 header. */
export const HEADER_V3_MIN_BYTES = 104;
/** Our version 3 headers: with compression_type, padded to a multiple of 8. */
export const HEADER_V3_BYTES = 112;
/** Where the virtual size lies; from here to the end of the version 2 header is what changes of metadata change. */
export const HEADER_SIZE_AT = 24;
/** Where the header's refcount table offset (8 bytes) and cluster count (4 bytes) lie; one write switches both. */
export const HEADER_REFCOUNT_TABLE_AT = 48;
/** Where nb_snapshots (4 bytes) and snapshots_offset (8 bytes) lie. */
export const HEADER_SNAPSHOTS_AT = 60;
/** Where autoclear_features lies. */
export const HEADER_INCOMPATIBLE_FEATURES_AT = 72;
export const HEADER_AUTOCLEAR_FEATURES_AT = 88;
/** Where l1_size (4 bytes) and l1_table_offset (8 bytes) lie. */
export const HEADER_L1_AT = 36;
export const HEADER_L1_TABLE_OFFSET_AT = 40;

/** The header as stored. Raw 64-bit fields are bigint: they are checked, not trusted, by whoever opens the image. */
export interface Header {
  /** 2 or 3. */
  readonly version: number;
  /** Byte offset of the backing file's name; 0n if there is none. */
  readonly backingFileOffset: bigint;
  readonly backingFileSize: number;
  readonly clusterBits: number;
  /** Virtual size in bytes. */
  readonly size: bigint;
  /** 0 none, 1 AES, 2 LUKS. */
  readonly cryptMethod: number;
  /** Entries, not bytes. */
  readonly l1Size: number;
  readonly l1TableOffset: bigint;
  readonly refcountTableOffset: bigint;
  readonly refcountTableClusters: number;
  readonly snapshotCount: number;
  readonly snapshotsOffset: bigint;
  readonly incompatibleFeatures: bigint;
  readonly compatibleFeatures: bigint;
  readonly autoclearFeatures: bigint;
  /** Refcounts have 2^refcountOrder bits. */
  readonly refcountOrder: number;
  /** Bytes of the fixed header; header extensions begin here. */
  readonly headerLength: number;
  /** 0 deflate ("zlib"), 1 zstd. */
  readonly compressionType: number;
  /** Bytes of the header that this library does not know (from 105 on); kept when the header is rewritten. */
  readonly unknownFields: Uint8Array;
}

/**
 * Decodes the header from the first bytes of an image. `bytes` may be longer than the header; it must hold all of
 * it. Field values are returned as found: only what decides the layout is checked here.
 * @throws Qcow2Error "not-qcow2", "unsupported-version", "truncated", "invalid-image"
 */
export function decodeHeader(bytes: Uint8Array): Header {
  const view = viewOf(bytes);
  if (bytes.length < 4 || view.getUint32(0) !== QCOW2_MAGIC) {
    const found = Array.from(bytes.subarray(0, 4), (byte) => byte.toString(16).padStart(2, "0")).join(" ");
    throw new Qcow2Error("not-qcow2", "Image is not in qcow2 format", { found });
  }
  requireHeaderBytes(bytes, 8);
  const version = view.getUint32(4);
  if (version !== 2 && version !== 3) {
    throw new Qcow2Error("unsupported-version", `Unsupported qcow2 version ${version}`, { version });
  }
  requireHeaderBytes(bytes, version === 2 ? HEADER_V2_BYTES : HEADER_V3_MIN_BYTES);
  const common = {
    version,
    backingFileOffset: view.getBigUint64(8),
    backingFileSize: view.getUint32(16),
    clusterBits: view.getUint32(20),
    size: view.getBigUint64(24),
    cryptMethod: view.getUint32(32),
    l1Size: view.getUint32(36),
    l1TableOffset: view.getBigUint64(40),
    refcountTableOffset: view.getBigUint64(48),
    refcountTableClusters: view.getUint32(56),
    snapshotCount: view.getUint32(60),
    snapshotsOffset: view.getBigUint64(64),
  };
  if (version === 2) {
    return {
      ...common,
      incompatibleFeatures: 0n,
      compatibleFeatures: 0n,
      autoclearFeatures: 0n,
      refcountOrder: 4,
      headerLength: HEADER_V2_BYTES,
      compressionType: 0,
      unknownFields: new Uint8Array(0),
    };
  }
  const headerLength = view.getUint32(100);
  if (headerLength < HEADER_V3_MIN_BYTES) {
    throw new Qcow2Error("invalid-image", "qcow2 header too short", {
      structure: "header",
      offset: 100,
      found: headerLength,
      expected: HEADER_V3_MIN_BYTES,
    });
  }
  const clusterSize = 2 ** common.clusterBits;
  if (headerLength > clusterSize) {
    throw new Qcow2Error("invalid-image", "qcow2 header exceeds cluster size", {
      structure: "header",
      offset: 100,
      found: headerLength,
      expected: clusterSize,
    });
  }
  requireHeaderBytes(bytes, headerLength);
  return {
    ...common,
    incompatibleFeatures: view.getBigUint64(72),
    compatibleFeatures: view.getBigUint64(80),
    autoclearFeatures: view.getBigUint64(88),
    refcountOrder: view.getUint32(96),
    headerLength,
    compressionType: headerLength > HEADER_V3_MIN_BYTES ? view.getUint8(104) : 0,
    unknownFields: bytes.slice(Math.min(HEADER_V3_MIN_BYTES + 1, headerLength), headerLength),
  };
}

/** Encodes the fixed part; the result has `header.headerLength` bytes (72 for version 2). */
export function encodeHeader(header: Header): Uint8Array {
  const length = header.version === 2 ? HEADER_V2_BYTES : header.headerLength;
  const bytes = new Uint8Array(length);
  const view = viewOf(bytes);
  view.setUint32(0, QCOW2_MAGIC);
  view.setUint32(4, header.version);
  view.setBigUint64(8, header.backingFileOffset);
  view.setUint32(16, header.backingFileSize);
  view.setUint32(20, header.clusterBits);
  view.setBigUint64(24, header.size);
  view.setUint32(32, header.cryptMethod);
  view.setUint32(36, header.l1Size);
  view.setBigUint64(40, header.l1TableOffset);
  view.setBigUint64(48, header.refcountTableOffset);
  view.setUint32(56, header.refcountTableClusters);
  view.setUint32(60, header.snapshotCount);
  view.setBigUint64(64, header.snapshotsOffset);
  if (header.version === 2) return bytes;
  view.setBigUint64(72, header.incompatibleFeatures);
  view.setBigUint64(80, header.compatibleFeatures);
  view.setBigUint64(88, header.autoclearFeatures);
  view.setUint32(96, header.refcountOrder);
  view.setUint32(100, header.headerLength);
  if (length > HEADER_V3_MIN_BYTES) {
    view.setUint8(104, header.compressionType);
    const unknownAt = HEADER_V3_MIN_BYTES + 1;
    bytes.set(header.unknownFields.subarray(0, length - unknownAt), unknownAt);
  }
  return bytes;
}

function requireHeaderBytes(bytes: Uint8Array, length: number): void {
  if (bytes.length >= length) return;
  throw new Qcow2Error(
    "truncated",
    `The qcow2 header is truncated: it needs ${length} bytes and the file has ${bytes.length}`,
    { structure: "header", offset: 0, length, fileSize: bytes.length },
  );
}
