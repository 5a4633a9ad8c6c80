/** The tables of an image file that refer to host clusters, as its header, snapshot table and bitmap directory name them. */
import { BITMAP_TABLE_ENTRY_BYTES } from "../../format/bitmap-table-entry.ts";
import type { Geometry } from "../../format/geometry.ts";
import { EXTENSION_CRYPTO } from "../../format/header-extensions.ts";
import { L1_ENTRY_BYTES } from "../../format/l1-entry.ts";
import { viewOf } from "../../format/uint64.ts";
import { MAX_L1_BYTES } from "../../limits.ts";
import type { ImageLayout, TableLocation } from "../image-layout.ts";
import type { OpenImage } from "../open-image.ts";

/** What claims to be longer is not followed. */
const MAX_CRYPTO_HEADER_BYTES: number = 64 * 2 ** 20;

/** An L1 table, and how many snapshots share it; for the active one, `weight` is 1. */
export interface L1Location extends TableLocation {
  readonly weight: number;
  readonly active: boolean;
  /** What to take for its entries; default: what the file says. */
  readonly entries?: Uint8Array | undefined;
}

export interface ImageTables {
  readonly geometry: Geometry;
  /** Then L2 entries refer to clusters of another file. */
  readonly hasDataFile: boolean;
  readonly l1Tables: readonly L1Location[];
  readonly refcountTable: TableLocation;
  readonly bitmapTables: readonly TableLocation[];
  /** What else occupies clusters: header, snapshot table, bitmap directory, encryption header. */
  readonly extents: readonly TableLocation[];
}

/** The tables of an open image; `refcountTable` is where that is now. */
export function tablesOf(
  image: Pick<OpenImage, "layout" | "snapshots" | "snapshotTableBytes" | "bitmaps">,
  refcountTable: TableLocation,
): ImageTables {
  const { layout, snapshots, snapshotTableBytes, bitmaps } = image;
  const { geometry, hasDataFile, l1Table } = layout;
  const l1Tables = new Map<string, L1Location>();
  for (const { l1TableOffset, l1Size } of snapshots) {
    const key = `${l1TableOffset}:${l1Size}`;
    const weight = (l1Tables.get(key)?.weight ?? 0) + 1;
    // What is larger is damaged, and is not read on trust.
    const length = Math.min(l1Size * L1_ENTRY_BYTES, MAX_L1_BYTES);
    l1Tables.set(key, { offset: Number(l1TableOffset), length, weight, active: false });
  }
  return {
    geometry,
    hasDataFile,
    l1Tables: [{ ...l1Table, weight: 1, active: true }, ...l1Tables.values()],
    refcountTable,
    bitmapTables: bitmaps.map(({ tableOffset, tableSize }) => ({
      offset: Number(tableOffset),
      length: tableSize * BITMAP_TABLE_ENTRY_BYTES,
    })),
    extents: [
      { offset: 0, length: geometry.clusterSize },
      { offset: layout.snapshotsOffset, length: snapshotTableBytes },
      ...extensionExtents(layout),
    ],
  };
}

function extensionExtents({ bitmaps, header, extensions }: ImageLayout): TableLocation[] {
  const extents: TableLocation[] = [];
  if (bitmaps !== undefined) {
    extents.push({ offset: Number(bitmaps.directoryOffset), length: Number(bitmaps.directorySize) });
  }
  const crypto = extensions.find(({ type }) => type === EXTENSION_CRYPTO);
  if (header.cryptMethod === 2 && crypto !== undefined && crypto.data.length >= 16) {
    const view = viewOf(crypto.data);
    const length = Math.min(Number(view.getBigUint64(8)), MAX_CRYPTO_HEADER_BYTES);
    extents.push({ offset: Number(view.getBigUint64(0)), length });
  }
  return extents;
}
