/**
 * The first cluster of an image: header, header extensions, the backing file's name (specification: "General", "Header
 * extensions").
 */
import { refuseOption } from "../../errors.ts";
import { KNOWN_FEATURES } from "../../format/feature-bits.ts";
import { encodeHeader, HEADER_V2_BYTES, HEADER_V3_BYTES, type Header } from "../../format/header.ts";
import {
  EXTENSION_FEATURE_NAMES,
  encodeFeatureNames,
  encodeHeaderExtensions,
  type HeaderExtension,
} from "../../format/header-extensions.ts";
import { MAX_BACKING_NAME_BYTES } from "../../limits.ts";

/** Where the header's parts go is decided here: its fields for that are filled in. */
export type HeaderFields = Omit<Header, "backingFileOffset" | "backingFileSize" | "headerLength">;

export interface FirstCluster {
  readonly header: HeaderFields;
  /** Bytes of a version 3 header; default {@link HEADER_V3_BYTES}. */
  readonly headerLength?: number | undefined;
  /** All but the feature name table, which is added where there is room for it. */
  readonly extensions: readonly HeaderExtension[];
  /** Empty for none. */
  readonly backingName: Uint8Array;
}

export interface FirstClusterPlacement {
  /** Where the backing file's name goes; default: right behind the extensions. */
  readonly backingNameAt?: number | undefined;
  readonly withFeatureNames: boolean;
}

/**
 * The bytes of the whole cluster. Names of features are a help for other programs; where a small cluster has no room for
 * them, the image does without.
 * @throws Qcow2Error "invalid-option" if the names of other files do not fit
 */
export function encodeFirstCluster(content: FirstCluster, clusterSize: number): Uint8Array {
  if (content.backingName.length > MAX_BACKING_NAME_BYTES) {
    refuseOption("backing_file", "Backing file name too long", "name-too-long");
  }
  const bytes =
    placeFirstCluster(content, clusterSize, { withFeatureNames: true }) ??
    placeFirstCluster(content, clusterSize, { withFeatureNames: false });
  if (bytes !== undefined) return bytes;
  refuseOption(
    "backing_file",
    "No space left in the file header: the names of other files do not fit",
    "header-full",
  );
}

/** The bytes of the whole cluster; undefined if there is no room for all of it in that way. */
export function placeFirstCluster(
  { header, headerLength = HEADER_V3_BYTES, extensions, backingName }: FirstCluster,
  clusterSize: number,
  { backingNameAt, withFeatureNames }: FirstClusterPlacement,
): Uint8Array | undefined {
  const isVersion2 = header.version === 2;
  const names = { type: EXTENSION_FEATURE_NAMES, data: encodeFeatureNames(KNOWN_FEATURES) };
  const encoded = encodeHeaderExtensions(
    withFeatureNames && !isVersion2 ? [...extensions, names] : extensions,
  );
  const extensionsAt = isVersion2 ? HEADER_V2_BYTES : headerLength;
  const extensionsEnd = extensionsAt + encoded.length;
  const nameAt = backingNameAt ?? extensionsEnd;
  if (extensionsEnd > clusterSize) return undefined;
  if (backingName.length > 0 && (nameAt < extensionsEnd || nameAt + backingName.length > clusterSize)) {
    return undefined;
  }
  const bytes = new Uint8Array(clusterSize);
  const fixed = {
    ...header,
    backingFileOffset: backingName.length > 0 ? BigInt(nameAt) : 0n,
    backingFileSize: backingName.length,
    headerLength: extensionsAt,
  };
  bytes.set(encodeHeader(fixed));
  bytes.set(encoded, extensionsAt);
  if (backingName.length > 0) bytes.set(backingName, nameAt);
  return bytes;
}
