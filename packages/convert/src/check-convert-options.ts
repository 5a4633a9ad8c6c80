import { type Disk, Qcow2Error, Qcow2Image, type WritableDisk } from "@qcow2/core";
import { type BytePrimitives, portablePrimitives } from "./byte-primitives.ts";
import type { ConvertOptions, TargetBacking } from "./convert-options.ts";
import type { SharedBacking } from "./copy-plan.ts";

const DEFAULT_PARALLEL = 8;
const DEFAULT_CHUNK_BYTES = 2 * 2 ** 20;
/** All clusters of a chunk are compressed at once: smaller chunks keep as many threads busy with less memory. */
const DEFAULT_COMPRESSED_CHUNK_BYTES = 512 * 2 ** 10;
const DEFAULT_SPARSE_BYTES = 4096;
const SECTOR_SIZE = 512;
/** File systems share and copy whole blocks. */
const BLOCK_SIZE = 4096;
/** Subclusters in a cluster (specification: "Extended L2 Entries"). */
const SUBCLUSTERS_PER_CLUSTER = 32;

/** The options of a copy, complete and consistent. */
export interface CheckedOptions {
  readonly source: Disk;
  readonly target: WritableDisk;
  readonly targetIsZero: boolean;
  readonly compress: boolean;
  /** 0: zeroes in data are written as they are. */
  readonly sparseBytes: number;
  /** The source's zeroes and holes are written as data, too. */
  readonly writeEverything: boolean;
  /** What the target allocates at once: a compressed cluster, a cluster or subcluster, or a sector. A power of two. */
  readonly unitBytes: number;
  readonly chunkBytes: number;
  readonly parallel: number;
  readonly outOfOrder: boolean;
  readonly salvage: boolean;
  /** What the host copies at least, and in multiples of: a cluster of the target, or a block. Undefined: it copies nothing. */
  readonly offloadBytes: number | undefined;
  readonly backing: SharedBacking | undefined;
  readonly primitives: BytePrimitives;
}

/**
 * Nothing has been read or written when this throws.
 * @throws Qcow2Error "unsupported", "invalid-option", "out-of-range"; RangeError for values no caller should pass.
 */
export function checkConvertOptions(options: ConvertOptions): CheckedOptions {
  const { source, target, compress = false, sparseBytes = DEFAULT_SPARSE_BYTES } = options;
  const { clusterSize, subclusterSize } = clustersOf(options);
  const parallel = options.parallel ?? DEFAULT_PARALLEL;
  requireInteger("parallel", parallel, 1);
  requireInteger("sparseBytes", sparseBytes, 0);
  requireMultiple("sparseBytes", sparseBytes, SECTOR_SIZE);
  if (clusterSize < SECTOR_SIZE || !Number.isInteger(Math.log2(clusterSize))) {
    throw new RangeError(`clusterSize must be a power of two of at least 512, not ${clusterSize}`);
  }
  const wantedChunkBytes =
    options.chunkBytes ?? (compress ? DEFAULT_COMPRESSED_CHUNK_BYTES : DEFAULT_CHUNK_BYTES);
  const chunkBytes = Math.ceil(wantedChunkBytes / clusterSize) * clusterSize;
  requireInteger("chunkBytes", chunkBytes, SECTOR_SIZE);
  if (target.size < source.size) {
    throw new Qcow2Error("out-of-range", "output file is smaller than input file", {
      offset: 0,
      length: source.size,
      size: target.size,
    });
  }
  if (options.copyOffload && (compress || options.salvage)) {
    throw new Qcow2Error("invalid-option", "What the host copies is neither compressed nor salvaged", {
      option: "copyOffload",
    });
  }
  if (compress) requireCompression(target, options.clusterSize);
  if (options.targetIsZero && options.targetBacking !== undefined) {
    throw new Qcow2Error("invalid-option", "A target with a backing file does not read as zeroes", {
      option: "targetIsZero",
    });
  }
  return {
    source,
    target,
    targetIsZero: options.targetIsZero,
    compress,
    sparseBytes,
    writeEverything: sparseBytes === 0,
    unitBytes: compress ? clusterSize : subclusterSize,
    chunkBytes,
    parallel,
    outOfOrder: options.outOfOrder ?? false,
    salvage: options.salvage ?? false,
    offloadBytes: canOffload(options) ? Math.max(clusterSize, BLOCK_SIZE) : undefined,
    backing: options.targetBacking && sharedBacking(source, options.targetBacking),
    primitives: options.primitives ?? portablePrimitives,
  };
}

/** True if both disks can tell or use where data lies, and it stays there. */
function canOffload({ copyOffload = false, source, target }: ConvertOptions): boolean {
  return copyOffload && source.readOnly && source.storedAt !== undefined && target.writeStored !== undefined;
}

/** Sizes of the target's clusters; sectors where there are none. */
export function clustersOf({ target, clusterSize }: Pick<ConvertOptions, "target" | "clusterSize">): {
  readonly clusterSize: number;
  readonly subclusterSize: number;
} {
  if (!(target instanceof Qcow2Image)) {
    return { clusterSize: clusterSize ?? SECTOR_SIZE, subclusterSize: clusterSize ?? SECTOR_SIZE };
  }
  const info = target.info();
  const perCluster = info.extendedL2 ? SUBCLUSTERS_PER_CLUSTER : 1;
  return { clusterSize: info.clusterSize, subclusterSize: info.clusterSize / perCluster };
}

/** @throws Qcow2Error "unsupported" if the target's format has no compression */
export function requireCompression(target: WritableDisk, clusterSize: number | undefined): void {
  if (target.writeCompressed === undefined) {
    throw new Qcow2Error("unsupported", "Compression not supported for this file format", {
      operation: "write compressed",
    });
  }
  if (clusterSize === undefined && !(target instanceof Qcow2Image)) {
    throw new TypeError("compress needs the target's clusterSize");
  }
}

function sharedBacking(source: Disk, backing: TargetBacking): SharedBacking {
  const depth = backing.sharedDepth ?? 1;
  requireInteger("sharedDepth", depth, 1);
  return {
    depth,
    sourceSize: backing.sharedSize ?? (depth === 1 ? backingSizeOf(source) : 0),
    targetSize: backing.size ?? Number.POSITIVE_INFINITY,
  };
}

function backingSizeOf(source: Disk & { readonly backing?: Disk | undefined }): number {
  return source.backing?.size ?? 0;
}

/** @throws RangeError */
export function requireInteger(name: string, value: number, minimum: number): void {
  if (!Number.isSafeInteger(value) || value < minimum) {
    throw new RangeError(`${name} must be an integer of at least ${minimum}, not ${value}`);
  }
}

function requireMultiple(name: string, value: number, unit: number): void {
  if (value % unit !== 0) throw new RangeError(`${name} must be a multiple of ${unit}, not ${value}`);
}
