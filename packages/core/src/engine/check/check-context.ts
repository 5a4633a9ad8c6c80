/** What the parts of one check share. */
import type { Geometry } from "../../format/geometry.ts";
import type { BitmapsExtension } from "../../format/header-extensions.ts";
import type { Storage } from "../../storage/storage.ts";
import type { CheckReport } from "./check-report.ts";
import type { ReferenceWindow } from "./reference-window.ts";
import type { StoredRefcounts } from "./stored-refcounts.ts";

/** A table in the image file. The offset is as found: it may lie anywhere, and be inexact above 2^53. */
export interface TableExtent {
  readonly offset: number;
  readonly length: number;
}

/** One L1 table, and how many snapshots share it; for the active one, `weight` is 1. */
export interface L1Reference extends TableExtent {
  readonly active: boolean;
  readonly weight: number;
}

export interface CheckContext {
  readonly storage: Storage;
  readonly geometry: Geometry;
  /** Bytes of the file, rounded up to a sector: where QEMU sees its end. */
  readonly fileSize: number;
  readonly hasDataFile: boolean;
  /** The active L1 table, as far as it lies within the file. */
  readonly activeL1: DataView;
  readonly l1Tables: readonly L1Reference[];
  readonly refcountTable: TableExtent;
  readonly snapshotTable: TableExtent;
  /** The encryption header of a LUKS image. */
  readonly cryptoHeader: TableExtent | undefined;
  readonly bitmaps: BitmapsExtension | undefined;
  readonly bitmapTables: readonly TableExtent[];
  readonly stored: StoredRefcounts;
  readonly window: ReferenceWindow;
  readonly report: CheckReport;
  readonly memoryBytes: number;
  readonly signal: AbortSignal | undefined;
  /** Called as L2 tables are done within a pass: 0..1. */
  readonly onPassProgress: (fraction: number) => void;
}
