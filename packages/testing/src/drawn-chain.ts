/** A backing chain with its content, as plain JSON: what the properties draw, and what a saved case replays. */
import type { ImageOptions } from "@qcow2/core";
import { type ContentKind, content } from "./content.ts";
import { DiskModel } from "./disk-model.ts";

/** A change of a layer's content, in bytes of the virtual disk. */
export interface DrawnOperation {
  /**
   * "write-compressed" covers whole clusters (or reaches the end of the disk); "discard" leaves open what is read
   * afterwards where there is a backing file.
   */
  readonly kind: "write" | "write-zeroes" | "unmap" | "write-compressed" | "discard" | "snapshot";
  readonly offset: number;
  readonly length: number;
  /** What a write writes. */
  readonly content: ContentKind;
  readonly seed: number;
}

export interface DrawnQcow2Layer {
  readonly format: "qcow2";
  /** Virtual size in bytes, a multiple of 512. */
  readonly size: number;
  readonly options: ImageOptions;
  readonly dataFile: "none" | "plain" | "raw";
  readonly operations: readonly DrawnOperation[];
}

export interface DrawnRawLayer {
  readonly format: "raw";
  /** Length of the file in bytes, any number. */
  readonly size: number;
  readonly operations: readonly DrawnOperation[];
}

export type DrawnLayer = DrawnQcow2Layer | DrawnRawLayer;

export interface DrawnChain {
  /** From the base up; each layer is the backing file of the next. */
  readonly below: readonly DrawnLayer[];
  readonly top: DrawnQcow2Layer;
}

/** All layers, from the base up. */
export function layersOf(chain: DrawnChain): readonly DrawnLayer[] {
  return [...chain.below, chain.top];
}

/** The bytes that a "write" or "write-compressed" writes. */
export function contentOf(operation: DrawnOperation): Uint8Array {
  return content({
    kind: operation.content,
    seed: operation.seed,
    length: operation.length,
    offset: operation.offset,
  });
}

/** What a layer reads as, on top of what is below it. Not for chains with "discard". */
export async function modelOf(layer: DrawnLayer, below: DiskModel | undefined): Promise<DiskModel> {
  // A raw file of odd length is a disk that ends with the sector of its last byte.
  const size = Math.ceil(layer.size / 512) * 512;
  const model = below === undefined ? new DiskModel(size) : await below.overlay(size);
  for (const operation of layer.operations) {
    if (operation.kind === "snapshot") continue;
    if (operation.kind === "write" || operation.kind === "write-compressed") {
      await model.write(operation.offset, contentOf(operation));
    } else {
      await model.writeZeroes(operation.offset, operation.length);
    }
  }
  return model;
}

/** What the whole chain reads as. */
export async function modelOfChain(chain: DrawnChain): Promise<DiskModel> {
  let model: DiskModel | undefined;
  for (const layer of chain.below) model = await modelOf(layer, model);
  return await modelOf(chain.top, model);
}
