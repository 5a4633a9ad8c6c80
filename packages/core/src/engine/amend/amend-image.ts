/** Changing the options that an image was created with, those that can change; each kind of change is a transaction. */
import type { DiskResizeOptions } from "../../disk/disk.ts";
import { refuseOption } from "../../errors.ts";
import {
  AUTOCLEAR_DATA_FILE_RAW,
  COMPATIBLE_LAZY_REFCOUNTS,
  INCOMPATIBLE_COMPRESSION_TYPE,
  INCOMPATIBLE_DATA_FILE,
  INCOMPATIBLE_DIRTY,
} from "../../format/feature-bits.ts";
import { MAX_REFCOUNT_ORDER } from "../../limits.ts";
import { isDataFileRaw, type OpenImage } from "../open-image.ts";
import { assertResize } from "../resize/resize-image.ts";
import {
  type GiveBack,
  MetadataTransaction,
  type TransactionOptions,
} from "../transaction/metadata-transaction.ts";
import type { WriteContext } from "../write-context.ts";
import { expandZeroClusters } from "./expand-zero-clusters.ts";

/** What is left out stays as it is. */
export interface AmendOptions extends Partial<DiskResizeOptions> {
  /** 2 ("compat=0.10") or 3 ("compat=1.1"). Version 2 has no mark for zero clusters: they become data. */
  readonly version?: 2 | 3 | undefined;
  readonly lazyRefcounts?: boolean | undefined;
  /** A power of two from 1 to 64. */
  readonly refcountBits?: number | undefined;
  /** The name of the external data file to record. Its content is not moved. */
  readonly dataFile?: string | undefined;
  /** False: the data file need not be readable as a raw image any more. */
  readonly dataFileRaw?: boolean | undefined;
  /** Allow version 2, which has no persistent bitmaps, for an image with some: they are lost. Default false. */
  readonly dropBitmaps?: boolean | undefined;
}

const BITS_OF_VERSION_2 = 16;
const VM_STATE_BYTES_OF_VERSION_2 = 0xffffffffn;

/**
 * Throws what {@link amendImage} would throw before it changes anything.
 * @throws Qcow2Error "invalid-option"
 */
export function assertAmendment(image: OpenImage, options: AmendOptions): void {
  const { layout } = image;
  const { version = layout.header.version, refcountBits, lazyRefcounts, dataFile, dataFileRaw } = options;
  const bits = refcountBits ?? layout.geometry.refcountBits;
  if (version !== 2 && version !== 3)
    refuseOption("compat", `Unknown compatibility level ${String(version)}`);
  const order = Math.log2(bits);
  if (!Number.isInteger(order) || order < 0 || order > MAX_REFCOUNT_ORDER) {
    refuseOption("refcount_bits", "Refcount width must be a power of two and may not exceed 64 bits");
  }
  if (dataFileRaw === true && !isDataFileRaw(layout)) {
    refuseOption("data_file_raw", "data-file-raw cannot be set on existing images");
  }
  if (dataFile !== undefined && !layout.hasDataFile) {
    refuseOption("data_file", "data-file can only be set for images that use an external data file");
  }
  if (options.size !== undefined && options.size !== layout.virtualSize) {
    assertResize(image, { ...options, size: options.size, version });
  }
  if (dataFile === "")
    refuseOption("data_file", "The image cannot be read without the name of its data file");
  if (version === 3) return;
  if (lazyRefcounts === true) {
    refuseOption(
      "lazy_refcounts",
      "Lazy refcounts only supported with compatibility level 1.1 and above (use compat=1.1 or greater)",
    );
  }
  if (refcountBits !== undefined && refcountBits !== BITS_OF_VERSION_2) {
    refuseOption(
      "refcount_bits",
      "Refcount widths other than 16 bits require compatibility level 1.1 or above (use compat=1.1 or greater)",
    );
  }
  if (layout.header.version === 3) {
    const { size = layout.virtualSize, dropBitmaps = false } = options;
    assertDowngrade(image, { bits, size, dropBitmaps });
  }
}

interface Downgrade {
  readonly bits: number;
  readonly size: number;
  readonly dropBitmaps: boolean;
}

function assertDowngrade(image: OpenImage, after: Downgrade): void {
  const { header } = image.layout;
  const option = "compat";
  if (after.bits !== BITS_OF_VERSION_2) refuseOption(option, "compat=0.10 requires refcount_bits=16");
  if ((header.incompatibleFeatures & INCOMPATIBLE_DATA_FILE) !== 0n) {
    refuseOption(option, "Cannot downgrade an image with a data file");
  }
  const others = header.incompatibleFeatures & ~(INCOMPATIBLE_COMPRESSION_TYPE | INCOMPATIBLE_DIRTY);
  if (others !== 0n) {
    refuseOption(
      option,
      `Cannot downgrade an image with incompatible features 0x${others.toString(16).toUpperCase()} set`,
    );
  }
  const current = BigInt(image.layout.virtualSize);
  for (const { diskSize, vmStateSize } of image.snapshots) {
    if ((diskSize ?? current) === BigInt(after.size) && vmStateSize <= VM_STATE_BYTES_OF_VERSION_2) continue;
    refuseOption(option, "Internal snapshots prevent downgrade of image");
  }
  if (image.bitmaps.length > 0 && !after.dropBitmaps) {
    refuseOption(
      option,
      `Persistent bitmaps prevent downgrade of image: version 2 has none, and ${image.bitmaps.length} would be lost`,
    );
  }
}

/** All but the step down to version 2. */
export async function amendImage(context: WriteContext, options: AmendOptions): Promise<GiveBack> {
  const { image } = context;
  const { header, geometry } = image.layout;
  const { lazyRefcounts, dataFile, dataFileRaw, signal } = options;
  const refcountBits = options.refcountBits ?? geometry.refcountBits;
  const upgrades = options.version === 3 && header.version === 2;
  return await MetadataTransaction.run(
    context,
    async () => ({
      ...(upgrades ? { version: 3 as const } : {}),
      lazyRefcounts,
      dataFile,
      dataFileRaw,
    }),
    { refcountBits, signal },
  );
}

/** True if {@link amendImage} would change anything. */
export function changesImage({ layout }: OpenImage, options: AmendOptions): boolean {
  const { header, geometry } = layout;
  const isLazy = (header.compatibleFeatures & COMPATIBLE_LAZY_REFCOUNTS) !== 0n;
  const isRaw = (header.autoclearFeatures & AUTOCLEAR_DATA_FILE_RAW) !== 0n;
  return (
    (options.version === 3 && header.version === 2) ||
    (options.lazyRefcounts ?? isLazy) !== isLazy ||
    (options.refcountBits ?? geometry.refcountBits) !== geometry.refcountBits ||
    (options.dataFile ?? layout.dataFile) !== layout.dataFile ||
    (options.dataFileRaw ?? isRaw) !== isRaw
  );
}

/** The step down to version 2, which has no zero clusters and no feature bits. */
export async function downgradeImage(
  context: WriteContext,
  { signal }: TransactionOptions,
): Promise<GiveBack> {
  return await MetadataTransaction.run(
    context,
    async (transaction) => ({ version: 2 as const, ...(await expandZeroClusters(transaction)) }),
    { signal },
  );
}
