/**
 * Replacing the first cluster of an image so that a power cut at any point leaves the old one or the new one. A disk
 * writes a sector whole or not at all: the new header's first sector is the switch, and what lies behind it is written
 * before, where the old header has nothing.
 */
import { refuseOption } from "../../errors.ts";
import { HEADER_V2_BYTES } from "../../format/header.ts";
import {
  EXTENSION_END,
  EXTENSION_FEATURE_NAMES,
  type HeaderExtension,
  headerExtensionsEnd,
} from "../../format/header-extensions.ts";
import { viewOf } from "../../format/uint64.ts";
import { SECTOR_SIZE } from "../../limits.ts";
import { type FirstCluster, placeFirstCluster } from "./first-cluster.ts";

export interface HeaderReplacement {
  /** Bytes of the first sector that say the same as now with less behind it; to be made durable first. */
  readonly clearing: Uint8Array | undefined;
  /** What lies behind the first sector, from byte 512 on; to be made durable before the switch. */
  readonly rest: Uint8Array;
  /** True if what lies there now is the same. */
  readonly keepsRest: boolean;
  /** The first sector: the switch. */
  readonly sector: Uint8Array;
  /** The whole cluster as it will be. */
  readonly bytes: Uint8Array;
}

/** What a first cluster holds, as bytes: `current` is the whole of it, `extensions` are decoded from it. */
interface CurrentCluster {
  readonly bytes: Uint8Array;
  readonly headerLength: number;
  /** 0 if there is none. */
  readonly backingNameAt: number;
  readonly backingNameBytes: number;
}

/**
 * How to get from `current` to `wanted`.
 * @throws Qcow2Error "invalid-option" if the names of other files do not fit beside the current ones
 */
export function replaceFirstCluster(current: Uint8Array, wanted: FirstCluster): HeaderReplacement {
  const now = describe(current);
  const cleared = withoutFeatureNames(now);
  for (const from of cleared === undefined ? [now] : [now, cleared]) {
    for (const withFeatureNames of [true, false]) {
      // Behind the extensions, where it belongs; else behind the current name, or in front of that.
      const afterName = Math.ceil((from.backingNameAt + from.backingNameBytes) / 8) * 8;
      for (const backingNameAt of [undefined, Math.max(afterName, SECTOR_SIZE)]) {
        const bytes = placeFirstCluster(wanted, current.length, { backingNameAt, withFeatureNames });
        const rest = bytes && combineRests(from, bytes);
        if (bytes === undefined || rest === undefined) continue;
        return {
          clearing: from === now ? undefined : from.bytes.slice(0, SECTOR_SIZE),
          rest,
          keepsRest: rest.every((byte, index) => byte === current[SECTOR_SIZE + index]),
          sector: bytes.slice(0, SECTOR_SIZE),
          bytes,
        };
      }
    }
  }
  refuseOption(
    "backing_file",
    "No space left in the file header: the names of other files do not fit beside the current ones",
    "header-full",
  );
}

/** Header extensions with those of `type` replaced; without `data`, removed. Feature names are left to the placement. */
export function withExtension(
  extensions: readonly HeaderExtension[],
  type: number,
  data: Uint8Array | undefined,
): HeaderExtension[] {
  const others = extensions.filter((extension) => extension.type !== type);
  if (data === undefined) return others;
  const at = extensions.findIndex((extension) => extension.type === type);
  if (at < 0) return [...others, { type, data }];
  return [...others.slice(0, at), { type, data }, ...others.slice(at)];
}

function describe(bytes: Uint8Array): CurrentCluster {
  const view = viewOf(bytes);
  const headerLength = view.getUint32(4) === 2 ? HEADER_V2_BYTES : view.getUint32(100);
  const backingNameAt = Number(view.getBigUint64(8));
  return {
    bytes,
    headerLength,
    backingNameAt,
    backingNameBytes: backingNameAt === 0 ? 0 : view.getUint32(16),
  };
}

/** The same cluster with the feature name table taken out, if that is its last extension and begins in the first sector. */
function withoutFeatureNames(current: CurrentCluster): CurrentCluster | undefined {
  const { bytes, headerLength, backingNameAt } = current;
  const view = viewOf(bytes);
  const end = extensionsEnd(current);
  for (let at = headerLength; at + 8 <= Math.min(end, SECTOR_SIZE); ) {
    const type = view.getUint32(at);
    const length = 8 + Math.ceil(view.getUint32(at + 4) / 8) * 8;
    const isLast = at + length >= end - 8 || at + length >= (backingNameAt || bytes.length);
    if (type === EXTENSION_FEATURE_NAMES && isLast) {
      const cleared = bytes.slice();
      viewOf(cleared).setUint32(at, EXTENSION_END);
      viewOf(cleared).setUint32(at + 4, 0);
      return { ...current, bytes: cleared };
    }
    at += length;
  }
  return undefined;
}

function extensionsEnd({ bytes, headerLength, backingNameAt }: CurrentCluster): number {
  return headerExtensionsEnd(bytes, headerLength, backingNameAt || bytes.length);
}

/**
 * What to write behind the first sector so that both headers find what they need there; undefined if they need different
 * bytes at one place.
 */
function combineRests(from: CurrentCluster, wanted: Uint8Array): Uint8Array | undefined {
  const next = describe(wanted);
  const rest = wanted.slice(SECTOR_SIZE);
  for (const { start, end } of usedRanges(from)) {
    for (let at = Math.max(start, SECTOR_SIZE); at < end; at++) {
      if (rest[at - SECTOR_SIZE] === from.bytes[at]) continue;
      if (usedRanges(next).some((range) => at >= range.start && at < range.end)) return undefined;
      rest[at - SECTOR_SIZE] = from.bytes[at] as number;
    }
  }
  return rest;
}

/** What a header needs behind itself: its extensions, and the backing file's name. */
function usedRanges(cluster: CurrentCluster): { readonly start: number; readonly end: number }[] {
  const { headerLength, backingNameAt, backingNameBytes } = cluster;
  return [
    { start: headerLength, end: extensionsEnd(cluster) },
    { start: backingNameAt, end: backingNameAt + backingNameBytes },
  ];
}
