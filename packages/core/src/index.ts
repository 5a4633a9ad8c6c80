export type { ClusterCodec, Codecs, CompressionType, StoredCluster } from "./codec/codec.ts";
export type {
  Disk,
  DiskRange,
  DiskReadableOptions,
  DiskResizeOptions,
  DiskWritableOptions,
  Extent,
  Preallocation,
  WritableDisk,
} from "./disk/disk.ts";
export { diskReadable, diskWritable } from "./disk/disk-streams.ts";
export { mergeExtents } from "./disk/merge-extents.ts";
export { PROBE_BYTES, probeFormat, probeStorage } from "./disk/probe-format.ts";
export { RawDisk, type RawDiskOptions } from "./disk/raw-disk.ts";
export type { AmendOptions } from "./engine/amend/amend-image.ts";
export { readBackingName } from "./engine/backing-file.ts";
export type { BitmapAction, ChangeBitmapsOptions, DirtyRanges } from "./engine/bitmaps/change-bitmaps.ts";
export type { GuestRange } from "./engine/bitmaps/stored-bitmap.ts";
export { checkStorage } from "./engine/check/check-image.ts";
export type { CheckFinding, CheckOptions, CheckResult } from "./engine/check-result.ts";
export type { CreateOptions, ImageOptions } from "./engine/create-options.ts";
export type {
  BitmapInfo,
  Qcow2HeaderInfo,
  Qcow2Info,
  Qcow2Properties,
  SnapshotInfo,
} from "./engine/image-info.ts";
export { type HeaderInspection, inspectHeader } from "./engine/inspect-header.ts";
export type { MetadataClass, OverlapCheck, OverlapTemplate } from "./engine/overlap-classes.ts";
export { readImageInfo } from "./engine/read-image-info.ts";
export { repairStorage } from "./engine/repair/repair-image.ts";
export type { Irreparable, RepairOptions, RepairResult } from "./engine/repair/repair-options.ts";
export type { CreateSnapshotOptions } from "./engine/snapshots/change-snapshots.ts";
export type { SnapshotReference } from "./engine/snapshots/find-snapshot.ts";
export type { TransactionOptions } from "./engine/transaction/metadata-transaction.ts";
export {
  assertOffset,
  type ErrorCode,
  type ErrorDataByCode,
  isQcow2Error,
  type OptionRefusal,
  Qcow2Error,
} from "./errors.ts";
export { decodeText, encodeText } from "./format/stored-text.ts";
export { type BackingFileChange, type OpenOptions, Qcow2Image } from "./qcow2-image.ts";
export {
  type BackingReference,
  type DataFileReference,
  denyReferences,
  type References,
} from "./references/references.ts";
export { FinalFlush } from "./storage/final-flush.ts";
export { MemoryStorage } from "./storage/memory-storage.ts";
export { PartOfStorage, type PartOfStorageOptions } from "./storage/part-of-storage.ts";
export type { Storage, StorageExtent } from "./storage/storage.ts";
export type { StoredBytes } from "./storage/stored-bytes.ts";
