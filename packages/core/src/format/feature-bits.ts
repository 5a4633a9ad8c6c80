/** Feature bits of a version 3 header (specification: "incompatible_features", "compatible_features", "autoclear_features"). */

/** The three kinds, by the number that the feature name table uses for each. */
export const FEATURE_TYPE_INCOMPATIBLE = 0;
export const FEATURE_TYPE_COMPATIBLE = 1;
export const FEATURE_TYPE_AUTOCLEAR = 2;

/** Refcounts may be inconsistent: they were not written while the image was in use. */
export const INCOMPATIBLE_DIRTY: bigint = 1n << 0n;
/** Metadata is known to be damaged; the image may only be opened read-only. */
export const INCOMPATIBLE_CORRUPT: bigint = 1n << 1n;
/** Guest clusters lie in an external data file. */
export const INCOMPATIBLE_DATA_FILE: bigint = 1n << 2n;
/** The compression_type field says which compression is used; set if it is not deflate. */
export const INCOMPATIBLE_COMPRESSION_TYPE: bigint = 1n << 3n;
/** L2 entries have 128 bits, with a bitmap of 32 subclusters. */
export const INCOMPATIBLE_EXTENDED_L2: bigint = 1n << 4n;

/** Refcount updates may be postponed; the dirty bit then says so. */
export const COMPATIBLE_LAZY_REFCOUNTS: bigint = 1n << 0n;

/** The bitmaps extension is consistent with the image. */
export const AUTOCLEAR_BITMAPS: bigint = 1n << 0n;
/** The external data file may be read as a raw image on its own. */
export const AUTOCLEAR_DATA_FILE_RAW: bigint = 1n << 1n;

export interface NamedFeature {
  readonly type: number;
  /** Bit number, 0..63. */
  readonly bit: number;
  readonly name: string;
}

/** Every feature that this library implements; also what it writes as the feature name table of new images. */
export const KNOWN_FEATURES: readonly NamedFeature[] = [
  { type: FEATURE_TYPE_INCOMPATIBLE, bit: 0, name: "dirty bit" },
  { type: FEATURE_TYPE_INCOMPATIBLE, bit: 1, name: "corrupt bit" },
  { type: FEATURE_TYPE_INCOMPATIBLE, bit: 2, name: "external data file" },
  { type: FEATURE_TYPE_INCOMPATIBLE, bit: 3, name: "compression type" },
  { type: FEATURE_TYPE_INCOMPATIBLE, bit: 4, name: "extended L2 entries" },
  { type: FEATURE_TYPE_COMPATIBLE, bit: 0, name: "lazy refcounts" },
  { type: FEATURE_TYPE_AUTOCLEAR, bit: 0, name: "bitmaps" },
  { type: FEATURE_TYPE_AUTOCLEAR, bit: 1, name: "raw external data" },
];

/** All known bits of one type as a mask. */
export function knownFeatureMask(type: number): bigint {
  let mask = 0n;
  for (const feature of KNOWN_FEATURES) if (feature.type === type) mask |= 1n << BigInt(feature.bit);
  return mask;
}

/**
 * Names the incompatible features in `bits`: those that the image's own table names, in its order, and the rest as one
 * mask, as QEMU lists them.
 */
export function incompatibleFeatureNames(bits: bigint, imageTable: readonly NamedFeature[]): string[] {
  const names: string[] = [];
  let unnamed = bits;
  for (const { type, bit, name } of imageTable) {
    const mask = 1n << BigInt(bit);
    if (type !== FEATURE_TYPE_INCOMPATIBLE || (unnamed & mask) === 0n) continue;
    names.push(name);
    unnamed &= ~mask;
  }
  if (unnamed !== 0n) names.push(`Unknown incompatible feature: ${unnamed.toString(16)}`);
  return names;
}
