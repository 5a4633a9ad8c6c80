/** What `Qcow2Image.info()` answers; nothing here needs I/O beyond what opening did. */
import type { CompressionType } from "../codec/codec.ts";

/** One internal snapshot (specification: "Snapshots"). */
export interface SnapshotInfo {
  readonly id: string;
  readonly name: string;
  /** Bytes of VM state saved with it. */
  readonly vmStateSize: number;
  /** Seconds since 1970-01-01 UTC. */
  readonly dateSeconds: number;
  /** The sub-second part, 0..999,999,999. */
  readonly dateNanoseconds: number;
  /** Guest time since boot, nanoseconds. */
  readonly vmClockNanoseconds: bigint;
  /** Guest instruction count; undefined if not recorded. */
  readonly icount: bigint | undefined;
  /** Virtual size when it was taken, bytes. */
  readonly diskSize: number;
}

/** One persistent dirty bitmap (specification: "Bitmaps extension"). */
export interface BitmapInfo {
  readonly name: string;
  /** Bytes of the disk that one bit stands for. */
  readonly granularity: number;
  /** True if the bitmap was in use when the image was last open, so that its content is not to be trusted. */
  readonly inUse: boolean;
  /** True if the bitmap is to be enabled when the image is opened by a guest. */
  readonly auto: boolean;
}

/** What an image is, as its header says. */
export interface Qcow2Properties {
  readonly version: 2 | 3;
  /** Bytes. */
  readonly virtualSize: number;
  /** Bytes. */
  readonly clusterSize: number;
  readonly refcountBits: number;
  readonly lazyRefcounts: boolean;
  readonly extendedL2: boolean;
  readonly compressionType: CompressionType;
  readonly dirty: boolean;
  readonly corrupt: boolean;
  /** The external data file's name as stored; undefined without one. */
  readonly dataFile: string | undefined;
  readonly dataFileRaw: boolean;
  /** The backing file's name as stored; undefined without one. */
  readonly backingFile: string | undefined;
  /** The backing file's format as stored; undefined if the image does not say. */
  readonly backingFormat: string | undefined;
  readonly encryption: "none" | "aes" | "luks";
}

export interface Qcow2Info extends Qcow2Properties {
  readonly snapshots: readonly SnapshotInfo[];
  readonly bitmaps: readonly BitmapInfo[];
}

/** What the header alone says: how many snapshots and bitmaps there are, but not which. */
export interface Qcow2HeaderInfo extends Qcow2Properties {
  readonly snapshotCount: number;
  readonly bitmapCount: number;
}
