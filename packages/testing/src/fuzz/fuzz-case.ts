/** A case of the fuzzer as plain JSON: how a valid image is made, how it is broken, and what is done to it then. */
import type { ImageOptions } from "@qcow2/core";
import type { ContentKind } from "../content.ts";

export interface FuzzCase {
  readonly shape: FuzzShape;
  readonly breaks: readonly Break[];
  /** What is done to one open image, in turn. */
  readonly changes: readonly FuzzChange[];
  readonly open: FuzzOpenOptions;
}

/** A valid image. Places and lengths are cluster counts, and may be fractions. */
export interface FuzzShape {
  readonly options: Omit<ImageOptions, "preallocation"> & { readonly preallocation?: "metadata" | "full" };
  readonly clusters: number;
  readonly backing?: FuzzBacking;
  readonly dataFile?: "plain" | "raw";
  readonly steps: readonly FuzzStep[];
  /** Header bits that are set when all is done. */
  readonly marks?: readonly ("dirty" | "corrupt")[];
  /** Made by QEMU's tools, where there are some; else as the others. */
  readonly byQemu?: boolean;
}

export interface FuzzBacking {
  readonly format: "raw" | "qcow2";
  /** Clusters of the overlay. */
  readonly clusters: number;
}

/** What is done to the valid image, before it is broken. */
export type FuzzStep =
  | {
      readonly kind: "write" | "compress";
      readonly at: number;
      readonly count: number;
      readonly content: ContentKind;
      readonly seed: number;
    }
  | { readonly kind: "zero" | "unmap" | "discard"; readonly at: number; readonly count: number }
  | { readonly kind: "snapshot" }
  | { readonly kind: "bitmap"; readonly granularity: number; readonly enabled: boolean };

/** One place that is changed. Picks count what is there, modulo its number, so that a case stays one when it shrinks. */
export interface Break {
  readonly where: BreakPlace;
  readonly change: BreakChange;
}

export type BreakPlace =
  | { readonly kind: "header"; readonly field: string }
  | { readonly kind: "extension"; readonly pick: number; readonly part: "type" | "length" | "data" }
  /** An entry of the active L1 table (`tree` 0), or of a snapshot's. */
  | { readonly kind: "l1"; readonly tree: number; readonly pick: number; readonly used: boolean }
  | {
      readonly kind: "l2" | "subclusters" | "compressed-data";
      readonly table: number;
      readonly pick: number;
      readonly used: boolean;
    }
  | { readonly kind: "refcount-table"; readonly pick: number }
  | { readonly kind: "refcount"; readonly pick: number; readonly value: number }
  | { readonly kind: "refcount-block"; readonly pick: number; readonly byte: number }
  | { readonly kind: "snapshot"; readonly pick: number; readonly field: string }
  | { readonly kind: "bitmap"; readonly pick: number; readonly field: string }
  | {
      readonly kind: "bitmap-table" | "bitmap-data";
      readonly bitmap: number;
      readonly pick: number;
    }
  /** The file's end: bytes, relative to where it is. */
  | { readonly kind: "end"; readonly bytes: number; readonly content: "zeroes" | "garbage" };

export type BreakChange =
  | { readonly kind: "value"; readonly hex: string }
  | { readonly kind: "flip"; readonly bit: number }
  | { readonly kind: "add"; readonly amount: number }
  /** Where something else lies: 64-bit fields keep the bits that are no offset, if `keepFlags`. */
  | {
      readonly kind: "point";
      readonly pick: number;
      readonly plus: number;
      readonly keepFlags: boolean;
    }
  /** So many clusters behind the end of the file. */
  | { readonly kind: "behind"; readonly clusters: number; readonly keepFlags: boolean };

export interface FuzzOpenOptions {
  /** Bytes of each table cache. */
  readonly cacheBytes: number;
  readonly discard: "ignore" | "unmap";
  readonly overlapCheck: "none" | "constant" | "cached" | "all";
  readonly metadataOnly: boolean;
  /** The storage says that it occupies nothing, so that `map` asks it for holes. */
  readonly sparse: boolean;
}

/** A change of the broken image. Places are in clusters of the disk, modulo its size. */
export type FuzzChange =
  | {
      readonly kind: "write" | "compress" | "stored";
      readonly at: number;
      readonly count: number;
      readonly content: ContentKind;
      readonly seed: number;
    }
  | {
      readonly kind: "zero" | "unmap" | "discard" | "reveal";
      readonly at: number;
      readonly count: number;
    }
  | { readonly kind: "flush" | "create-snapshot" | "make-empty" | "check" }
  | { readonly kind: "apply-snapshot" | "delete-snapshot"; readonly pick: number }
  /** Clusters more or less. */
  | { readonly kind: "resize"; readonly by: number; readonly preallocation: "off" | "metadata" }
  | {
      readonly kind: "amend";
      readonly version?: 2 | 3;
      readonly refcountBits?: number;
      readonly lazyRefcounts?: boolean;
    }
  | {
      readonly kind: "bitmaps";
      readonly action: "add" | "remove" | "clear" | "enable" | "disable" | "merge";
      readonly pick: number;
    }
  | { readonly kind: "set-backing"; readonly to: "none" | "raw" };
