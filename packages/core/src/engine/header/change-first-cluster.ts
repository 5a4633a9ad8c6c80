/** What a change of an image's metadata makes of its first cluster. */
import {
  AUTOCLEAR_BITMAPS,
  AUTOCLEAR_DATA_FILE_RAW,
  COMPATIBLE_LAZY_REFCOUNTS,
} from "../../format/feature-bits.ts";
import {
  decodeHeader,
  encodeHeader,
  HEADER_V2_BYTES,
  HEADER_V3_BYTES,
  type Header,
} from "../../format/header.ts";
import {
  type BitmapsExtension,
  decodeHeaderExtensions,
  EXTENSION_BACKING_FORMAT,
  EXTENSION_BITMAPS,
  EXTENSION_DATA_FILE,
  EXTENSION_FEATURE_NAMES,
  encodeBitmapsExtension,
  type HeaderExtension,
} from "../../format/header-extensions.ts";
import { L1_ENTRY_BYTES } from "../../format/l1-entry.ts";
import { encodeText } from "../../format/stored-text.ts";
import { SECTOR_SIZE } from "../../limits.ts";
import type { TableLocation } from "../image-layout.ts";
import { type HeaderReplacement, replaceFirstCluster, withExtension } from "./replace-first-cluster.ts";

/** What the header says differently afterwards; what is not named stays. */
export interface HeaderChange {
  /** Bytes. */
  readonly virtualSize?: number | undefined;
  readonly l1Table?: TableLocation | undefined;
  readonly snapshots?: { readonly offset: number; readonly count: number } | undefined;
  /** null for none. */
  readonly backing?: { readonly name: string; readonly format?: string | undefined } | null | undefined;
  /** null for none. */
  readonly bitmaps?: BitmapsExtension | null | undefined;
  readonly version?: 2 | 3 | undefined;
  readonly lazyRefcounts?: boolean | undefined;
  /** The name of the external data file to record. */
  readonly dataFile?: string | undefined;
  readonly dataFileRaw?: boolean | undefined;
}

interface RefcountChange {
  readonly refcountTable?: TableLocation | undefined;
  readonly refcountBits: number;
}

/**
 * How to get from the first cluster `current` to one that says what `change` says. Extensions and header fields that
 * this library does not know stay; names of features are brought up to date where the extensions change.
 * @throws Qcow2Error "invalid-option" if names do not fit
 */
export function changeFirstCluster(
  current: Uint8Array,
  change: HeaderChange & RefcountChange,
): HeaderReplacement {
  const found = decodeHeader(current);
  const header = changeHeader(found, change);
  const movesParts =
    change.backing !== undefined ||
    change.bitmaps !== undefined ||
    change.dataFile !== undefined ||
    header.version !== found.version;
  if (!movesParts) return replaceFixedFields(current, header);
  const backingNameAt = Number(found.backingFileOffset);
  const extensions = decodeHeaderExtensions(current, found.headerLength, backingNameAt || current.length);
  const backingName =
    change.backing === undefined
      ? current.slice(backingNameAt, backingNameAt + (backingNameAt === 0 ? 0 : found.backingFileSize))
      : encodeText(change.backing?.name ?? "");
  return replaceFirstCluster(current, {
    header,
    headerLength: found.version === 2 ? HEADER_V3_BYTES : Math.max(found.headerLength, HEADER_V3_BYTES),
    extensions: changeExtensions(extensions, change),
    backingName,
  });
}

/** Nothing but fields within the first sector changes. */
function replaceFixedFields(current: Uint8Array, header: Header): HeaderReplacement {
  const bytes = current.slice();
  // Unknown fields of a longer header stay as they are, in the first sector or behind it.
  bytes.set(encodeHeader(header).subarray(0, Math.min(header.headerLength, HEADER_V3_BYTES)));
  return {
    clearing: undefined,
    rest: bytes.slice(SECTOR_SIZE),
    keepsRest: true,
    sector: bytes.slice(0, SECTOR_SIZE),
    bytes,
  };
}

function changeHeader(header: Header, change: HeaderChange & RefcountChange): Header {
  const { virtualSize, l1Table, refcountTable, snapshots, version = header.version } = change;
  const clusterSize = 2 ** header.clusterBits;
  let { compatibleFeatures, autoclearFeatures } = header;
  const set = (bits: bigint, bit: bigint, wanted: boolean | undefined): bigint =>
    wanted === undefined ? bits : wanted ? bits | bit : bits & ~bit;
  compatibleFeatures = set(compatibleFeatures, COMPATIBLE_LAZY_REFCOUNTS, change.lazyRefcounts);
  autoclearFeatures = set(autoclearFeatures, AUTOCLEAR_DATA_FILE_RAW, change.dataFileRaw);
  if (change.bitmaps !== undefined) {
    autoclearFeatures = set(autoclearFeatures, AUTOCLEAR_BITMAPS, change.bitmaps !== null);
  }
  return {
    ...header,
    version,
    ...(virtualSize === undefined ? {} : { size: BigInt(virtualSize) }),
    ...(l1Table === undefined
      ? {}
      : { l1Size: l1Table.length / L1_ENTRY_BYTES, l1TableOffset: BigInt(l1Table.offset) }),
    ...(refcountTable === undefined
      ? {}
      : {
          refcountTableOffset: BigInt(refcountTable.offset),
          refcountTableClusters: refcountTable.length / clusterSize,
        }),
    ...(snapshots === undefined
      ? {}
      : { snapshotCount: snapshots.count, snapshotsOffset: BigInt(snapshots.offset) }),
    refcountOrder: Math.log2(change.refcountBits),
    compatibleFeatures,
    autoclearFeatures,
    ...(header.version === version
      ? {}
      : {
          headerLength: version === 2 ? HEADER_V2_BYTES : HEADER_V3_BYTES,
          unknownFields: new Uint8Array(0),
        }),
  };
}

function changeExtensions(extensions: readonly HeaderExtension[], change: HeaderChange): HeaderExtension[] {
  const { backing, bitmaps, dataFile } = change;
  let changed = withExtension(extensions, EXTENSION_FEATURE_NAMES, undefined);
  if (backing !== undefined) {
    const format = backing?.format;
    changed = withExtension(
      changed,
      EXTENSION_BACKING_FORMAT,
      format === undefined ? undefined : encodeText(format),
    );
  }
  if (bitmaps !== undefined) {
    changed = withExtension(
      changed,
      EXTENSION_BITMAPS,
      bitmaps === null ? undefined : encodeBitmapsExtension(bitmaps),
    );
  }
  if (dataFile !== undefined) changed = withExtension(changed, EXTENSION_DATA_FILE, encodeText(dataFile));
  return changed;
}
