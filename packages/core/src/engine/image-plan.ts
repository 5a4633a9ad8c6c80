/** Where everything goes in a new image, computed before anything is written. */
import type { Preallocation } from "../disk/disk.ts";
import { refuseOption } from "../errors.ts";
import { createGeometry, type Geometry, l1EntriesFor, roundUp } from "../format/geometry.ts";
import { L1_ENTRY_BYTES } from "../format/l1-entry.ts";
import { REFCOUNT_TABLE_ENTRY_BYTES } from "../format/refcount-entry.ts";
import {
  MAX_CLUSTER_BITS,
  MAX_L1_BYTES,
  MAX_REFCOUNT_ORDER,
  MAX_REFCOUNT_TABLE_BYTES,
  MAX_VIRTUAL_SIZE,
  MIN_CLUSTER_BITS,
  MIN_EXTENDED_L2_CLUSTER_BITS,
  SECTOR_SIZE,
} from "../limits.ts";
import type { ImageOptions } from "./create-options.ts";

const DEFAULT_CLUSTER_SIZE = 65536;
const DEFAULT_REFCOUNT_BITS = 16;

/** All options with their defaults filled in, and found to be good together. */
export interface CheckedImageOptions {
  readonly version: 2 | 3;
  readonly geometry: Geometry;
  readonly lazyRefcounts: boolean;
  readonly compressionType: "zlib" | "zstd";
  readonly preallocation: Preallocation;
}

/** Host clusters of a new image: index of the first one and count, in the order in which they lie. */
export interface ImagePlan {
  /** Virtual size, bytes. */
  readonly size: number;
  readonly refcountTable: ClusterArea;
  readonly refcountBlocks: ClusterArea;
  /** Empty for a disk of 0 bytes. */
  readonly l1Table: ClusterArea;
  /** Entries of the L1 table. */
  readonly l1Entries: number;
  /** With preallocation: one table for each L1 entry; else none. */
  readonly l2Tables: ClusterArea;
  /** With preallocation and without an external data file: every guest cluster; else none. */
  readonly data: ClusterArea;
  /** All clusters. */
  readonly totalClusters: number;
}

export interface ClusterArea {
  readonly first: number;
  readonly count: number;
}

/**
 * Fills in defaults and checks each option and all of them together.
 * @throws Qcow2Error "invalid-option"
 */
export function checkImageOptions(
  options: ImageOptions & {
    readonly hasBackingFile?: boolean | undefined;
    readonly hasDataFile?: boolean | undefined;
    readonly dataFileRaw?: boolean | undefined;
  },
): CheckedImageOptions {
  const version = options.version ?? 3;
  const clusterSize = options.clusterSize ?? DEFAULT_CLUSTER_SIZE;
  const refcountBits = options.refcountBits ?? DEFAULT_REFCOUNT_BITS;
  const clusterBits = Math.log2(clusterSize);
  const refcountOrder = Math.log2(refcountBits);
  const extendedL2 = options.extendedL2 ?? false;
  const compressionType = options.compressionType ?? "zlib";
  let preallocation = options.preallocation ?? "off";
  if (version !== 2 && version !== 3) refuseOption("compat", `Unknown qcow2 version ${String(version)}`);
  if (!Number.isInteger(clusterBits) || clusterBits < MIN_CLUSTER_BITS || clusterBits > MAX_CLUSTER_BITS) {
    refuseOption("cluster_size", "Cluster size must be a power of two between 512 and 2048k");
  }
  if (!Number.isInteger(refcountOrder) || refcountOrder < 0 || refcountOrder > MAX_REFCOUNT_ORDER) {
    refuseOption("refcount_bits", "Refcount width must be a power of two and may not exceed 64 bits");
  }
  if (compressionType !== "zlib" && compressionType !== "zstd") {
    refuseOption("compression_type", `Unknown compression type '${String(compressionType)}'`);
  }
  if (version === 2) checkVersion2(options, { refcountBits, extendedL2, compressionType });
  if (extendedL2 && clusterBits < MIN_EXTENDED_L2_CLUSTER_BITS) {
    refuseOption(
      "extended_l2",
      "Extended L2 entries are only supported with cluster sizes of at least 16384 bytes",
    );
  }
  if (options.dataFileRaw === true && options.hasDataFile !== true) {
    refuseOption("data_file_raw", "data-file-raw requires data-file");
  }
  if (options.dataFileRaw === true && options.hasBackingFile === true) {
    refuseOption("data_file_raw", "Backing file and data-file-raw cannot be used at the same time");
  }
  if (options.hasBackingFile === true && preallocation !== "off" && !extendedL2) {
    refuseOption(
      "preallocation",
      "Backing file and preallocation can only be used at the same time if extended_l2 is on",
    );
  }
  // A raw data file may be changed behind the image's back, so every guest cluster has to refer to it from the start.
  if (options.dataFileRaw === true && preallocation === "off") preallocation = "metadata";
  const geometry = createGeometry({ clusterBits, refcountOrder, extendedL2 });
  return { version, geometry, lazyRefcounts: options.lazyRefcounts ?? false, compressionType, preallocation };
}

function checkVersion2(
  options: { readonly lazyRefcounts?: boolean | undefined; readonly hasDataFile?: boolean | undefined },
  checked: { readonly refcountBits: number; readonly extendedL2: boolean; readonly compressionType: string },
): void {
  const hint = "compatibility level 1.1 and above (use version=v3 or greater)";
  if (options.lazyRefcounts === true)
    refuseOption("lazy_refcounts", `Lazy refcounts only supported with ${hint}`);
  if (checked.refcountBits !== DEFAULT_REFCOUNT_BITS) {
    refuseOption(
      "refcount_bits",
      "Different refcount widths than 16 bits require compatibility level 1.1 or above (use version=v3 or greater)",
    );
  }
  if (options.hasDataFile === true)
    refuseOption("data_file", `External data files are only supported with ${hint}`);
  if (checked.extendedL2) refuseOption("extended_l2", `Extended L2 entries are only supported with ${hint}`);
  if (checked.compressionType !== "zlib") {
    refuseOption("compression_type", `Non-zlib compression type is only supported with ${hint}`);
  }
}

/**
 * Lays out a new image: header, refcount table, refcount blocks, L1 table and, with preallocation, L2 tables and data.
 * @throws Qcow2Error "invalid-option" if the disk is too large for the cluster size
 */
export function planImage(
  options: CheckedImageOptions,
  requestedSize: number,
  hasDataFile: boolean,
): ImagePlan {
  if (!Number.isSafeInteger(requestedSize) || requestedSize < 0) {
    throw new RangeError(`size must be an integer from 0 to 2^53 - 1, not ${requestedSize}`);
  }
  const { geometry } = options;
  const { clusterSize } = geometry;
  const size = roundUp(requestedSize, SECTOR_SIZE);
  const l1Entries = l1EntriesFor(geometry, size);
  if (size > MAX_VIRTUAL_SIZE || l1Entries * L1_ENTRY_BYTES > MAX_L1_BYTES) refuseSize();
  const preallocates = options.preallocation !== "off";
  const l1Clusters = Math.ceil((l1Entries * L1_ENTRY_BYTES) / clusterSize);
  const l2Clusters = preallocates ? l1Entries : 0;
  const dataClusters = preallocates && !hasDataFile ? Math.ceil(size / clusterSize) : 0;
  const others = 1 + l1Clusters + l2Clusters + dataClusters;
  let blocks = 1;
  let tables = 1;
  for (;;) {
    const neededBlocks = Math.ceil((others + blocks + tables) / geometry.refcountsPerBlock);
    const neededTables = Math.ceil((neededBlocks * REFCOUNT_TABLE_ENTRY_BYTES) / clusterSize);
    if (neededBlocks <= blocks && neededTables <= tables) break;
    blocks = Math.max(blocks, neededBlocks);
    tables = Math.max(tables, neededTables);
  }
  if (tables * clusterSize > MAX_REFCOUNT_TABLE_BYTES) refuseSize();
  const refcountTable = { first: 1, count: tables };
  const refcountBlocks = { first: 1 + tables, count: blocks };
  const l1Table = { first: refcountBlocks.first + blocks, count: l1Clusters };
  const l2Tables = { first: l1Table.first + l1Clusters, count: l2Clusters };
  const data = { first: l2Tables.first + l2Clusters, count: dataClusters };
  return {
    size,
    refcountTable,
    refcountBlocks,
    l1Table,
    l1Entries,
    l2Tables,
    data,
    totalClusters: data.first + dataClusters,
  };
}

function refuseSize(): never {
  refuseOption(
    "size",
    "The image size is too large for file format 'qcow2' (try using a larger cluster size)",
    "size-too-large",
  );
}
