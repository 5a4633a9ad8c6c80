import {
  COMPATIBLE_LAZY_REFCOUNTS,
  INCOMPATIBLE_CORRUPT,
  INCOMPATIBLE_DIRTY,
} from "../format/feature-bits.ts";
import type { Qcow2Info, Qcow2Properties } from "./image-info.ts";
import type { ImageLayout } from "./image-layout.ts";
import { isDataFileRaw, type OpenImage } from "./open-image.ts";
import { bitmapInfo } from "./read-bitmap-directory.ts";
import { snapshotInfo } from "./read-snapshot-table.ts";

const ENCRYPTION = ["none", "aes", "luks"] as const;

/** The answer of `Qcow2Image.info()`. */
export function describeImage({ layout, snapshots, bitmaps }: OpenImage): Qcow2Info {
  return {
    ...describeLayout(layout),
    snapshots: snapshots.map((entry) => snapshotInfo(entry, layout.virtualSize)),
    bitmaps: bitmaps.map(bitmapInfo),
  };
}

export function describeLayout(layout: ImageLayout): Qcow2Properties {
  const { header, geometry } = layout;
  return {
    version: header.version === 2 ? 2 : 3,
    virtualSize: layout.virtualSize,
    clusterSize: geometry.clusterSize,
    refcountBits: geometry.refcountBits,
    lazyRefcounts: (header.compatibleFeatures & COMPATIBLE_LAZY_REFCOUNTS) !== 0n,
    extendedL2: geometry.extendedL2,
    compressionType: layout.compressionType,
    dirty: (header.incompatibleFeatures & INCOMPATIBLE_DIRTY) !== 0n,
    corrupt: (header.incompatibleFeatures & INCOMPATIBLE_CORRUPT) !== 0n,
    dataFile: layout.dataFile,
    dataFileRaw: isDataFileRaw(layout),
    backingFile: layout.backingFile,
    backingFormat: layout.backingFormat,
    encryption: ENCRYPTION[header.cryptMethod] ?? "none",
  };
}
