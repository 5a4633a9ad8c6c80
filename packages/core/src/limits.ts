/** Every bound in one place, each with its reason. Where QEMU has a limit, ours is the same. */

/** Cluster sizes from 512 bytes ... (specification: header, cluster_bits "must not be less than 9"). */
export const MIN_CLUSTER_BITS = 9;
/** ... to 2 MiB (QEMU's own limit; larger tables would not fit its caches). */
export const MAX_CLUSTER_BITS = 21;
/** 2 MiB: also the largest output of one decompression. */
export const MAX_CLUSTER_SIZE: number = 2 ** MAX_CLUSTER_BITS;
/** Extended L2 entries need 32 subclusters of at least 512 bytes (specification: "Extended L2 Entries"). */
export const MIN_EXTENDED_L2_CLUSTER_BITS = 14;
/** Refcount entries of 2^6 = 64 bits at most (specification: header, refcount_order). */
export const MAX_REFCOUNT_ORDER = 6;
/** QEMU reads at most 32 MiB of L1 table; it bounds what an image can make a reader allocate. */
export const MAX_L1_BYTES: number = 32 * 2 ** 20;
/** QEMU reads at most 8 MiB of refcount table. */
export const MAX_REFCOUNT_TABLE_BYTES: number = 8 * 2 ** 20;
/** Snapshots in one image (QEMU's limit). */
export const MAX_SNAPSHOTS = 65536;
/** Bytes of one snapshot's extra data (QEMU's limit). */
export const MAX_SNAPSHOT_EXTRA_DATA_BYTES = 1024;
/** Bytes of the whole snapshot table (QEMU's limit: 1024 bytes for each of 65,536 snapshots). */
export const MAX_SNAPSHOT_TABLE_BYTES: number = 64 * 2 ** 20;
/** Persistent bitmaps in one image (QEMU's limit). */
export const MAX_BITMAPS = 65535;
/** Bytes of the bitmap directory (QEMU's limit: 65,535 bitmaps of 1024 bytes). */
export const MAX_BITMAP_DIRECTORY_BYTES: number = 65535 * 1024;
/** Bytes of one bitmap name (QEMU's limit). */
export const MAX_BITMAP_NAME_BYTES = 1023;
/** Entries of one bitmap table, in bytes: 0x8000000 entries is QEMU's limit. */
export const MAX_BITMAP_TABLE_ENTRIES = 0x8000000;
/** Memory for bitmaps that follow a disk while it is written: 64 KiB granules of 16 TiB. */
export const MAX_TRACKED_BITMAP_BYTES: number = 32 * 2 ** 20;
/** Bytes of the backing file's name (specification: header, backing_file_size). */
export const MAX_BACKING_NAME_BYTES = 1023;
/** Host offsets have 56 bits (specification: "L2 table entry", bits 9-55). */
export const MAX_HOST_OFFSET_BITS = 56;
/** QEMU stores virtual sizes as signed 64-bit; ours must be exact as a number. */
export const MAX_VIRTUAL_SIZE: number = Number.MAX_SAFE_INTEGER;
/** The unit in which QEMU sees disks; virtual sizes that are no multiple of it are rounded. */
export const SECTOR_SIZE = 512;
/** L2 tables are cached in slices of at most this many bytes, so that one miss costs one modest read. */
export const MAX_SLICE_BYTES = 65536;
/** Bytes of L2 slices kept in memory by default: with 64 KiB clusters they map 128 GiB. */
export const DEFAULT_L2_CACHE_BYTES: number = 16 * 2 ** 20;
/** Bytes of refcount blocks kept in memory by default: a quarter of the L2 cache, as in QEMU. */
export const DEFAULT_REFCOUNT_CACHE_BYTES: number = 4 * 2 ** 20;
/** Memory for reference counts while checking, by default: enough for 1 TiB of 64 KiB clusters in one pass. */
export const DEFAULT_CHECK_BYTES: number = 64 * 2 ** 20;
/** Clusters of a file that can be checked (QEMU's limit). */
export const MAX_CHECKED_CLUSTERS: number = 2 ** 31 - 1;
