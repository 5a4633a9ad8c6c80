/** Sizes that follow from a few header fields, and the units in which the engine counts. */

declare const unit: unique symbol;
type Unit<Name extends string> = number & { readonly [unit]: Name };

/** Byte offset in the virtual disk. */
export type GuestOffset = Unit<"guest offset">;
/** Byte offset in the image file (or, for guest data, in the external data file). */
export type HostOffset = Unit<"host offset">;
/** Index of a cluster of the virtual disk: guest offset / cluster size, rounded down. */
export type GuestCluster = Unit<"guest cluster">;
/** Index of a cluster of the image file: host offset / cluster size, rounded down. */
export type HostCluster = Unit<"host cluster">;

/** Subclusters in a cluster with extended L2 entries (specification: "Extended L2 Entries"). */
export const SUBCLUSTERS_PER_CLUSTER = 32;

export interface Geometry {
  readonly clusterBits: number;
  /** Bytes. */
  readonly clusterSize: number;
  readonly extendedL2: boolean;
  /** Bytes of one L2 entry: 8, or 16 with extended L2. */
  readonly l2EntryBytes: number;
  /** Entries in one L2 table. */
  readonly l2Entries: number;
  /** Guest bytes that one L2 table maps. */
  readonly l2Coverage: number;
  /** Bytes of one subcluster; the cluster size without extended L2. */
  readonly subclusterSize: number;
  /** Bits of one refcount: 1 to 64. */
  readonly refcountBits: number;
  /** Refcounts in one refcount block. */
  readonly refcountsPerBlock: number;
}

/** All derived sizes. Arguments must already be within the format's limits. */
export function createGeometry(options: {
  readonly clusterBits: number;
  readonly refcountOrder: number;
  readonly extendedL2: boolean;
}): Geometry {
  const clusterSize = 2 ** options.clusterBits;
  const l2EntryBytes = options.extendedL2 ? 16 : 8;
  const l2Entries = clusterSize / l2EntryBytes;
  const refcountBits = 2 ** options.refcountOrder;
  return {
    clusterBits: options.clusterBits,
    clusterSize,
    extendedL2: options.extendedL2,
    l2EntryBytes,
    l2Entries,
    l2Coverage: l2Entries * clusterSize,
    subclusterSize: options.extendedL2 ? clusterSize / SUBCLUSTERS_PER_CLUSTER : clusterSize,
    refcountBits,
    refcountsPerBlock: (clusterSize * 8) / refcountBits,
  };
}

export function hostOffset(value: number): HostOffset {
  return value as HostOffset;
}

export function guestOffset(value: number): GuestOffset {
  return value as GuestOffset;
}

/** The cluster that contains the guest byte. */
export function guestClusterOf(geometry: Geometry, offset: number): GuestCluster {
  return Math.floor(offset / geometry.clusterSize) as GuestCluster;
}

/** The cluster that contains the host byte. */
export function hostClusterOf(geometry: Geometry, offset: number): HostCluster {
  return Math.floor(offset / geometry.clusterSize) as HostCluster;
}

/** The first byte of a host cluster. */
export function offsetOfHostCluster(geometry: Geometry, cluster: HostCluster): HostOffset {
  return (cluster * geometry.clusterSize) as HostOffset;
}

/** L1 entries that a disk of `size` bytes needs. */
export function l1EntriesFor(geometry: Geometry, size: number): number {
  return Math.ceil(size / geometry.l2Coverage);
}

export function roundUp(value: number, multiple: number): number {
  return Math.ceil(value / multiple) * multiple;
}

export function roundDown(value: number, multiple: number): number {
  return Math.floor(value / multiple) * multiple;
}
