/** Guest operations as plain JSON, what each does to an image, and what it must do to the model. */
import { MemoryStorage, type Qcow2Image } from "@qcow2/core";
import { type ContentKind, content } from "../content.ts";
import type { DiskModel } from "../disk-model.ts";
import type { EngineShape } from "./engine-shapes.ts";

/** Offsets and lengths in bytes of the virtual disk. */
export type EngineOperation =
  | {
      /**
       * "write-compressed" covers whole clusters, or reaches the end of the disk. "write-stored" covers whole clusters: the
       * host is asked to copy them, and what it does not copy is written.
       */
      readonly kind: "write" | "write-compressed" | "write-stored";
      readonly offset: number;
      readonly length: number;
      readonly content: ContentKind;
      readonly seed: number;
    }
  | { readonly kind: "write-zeroes" | "unmap" | "discard"; readonly offset: number; readonly length: number }
  | { readonly kind: "flush" };

/** A range that an operation makes the guest read differently, and as what. */
export interface ModelChange {
  readonly offset: number;
  /** What is read afterwards. */
  readonly bytes: Uint8Array;
}

/** What the guest may read differently after the operation; undefined if nothing. */
export function changeOf(operation: EngineOperation, shape: EngineShape): ModelChange | undefined {
  switch (operation.kind) {
    case "flush":
      return undefined;
    case "write":
    case "write-compressed":
    case "write-stored":
      return { offset: operation.offset, bytes: content({ ...operation, kind: operation.content }) };
    case "write-zeroes":
    case "unmap":
      return { offset: operation.offset, bytes: new Uint8Array(operation.length) };
    case "discard":
      return discardOf(operation.offset, operation.length, shape);
  }
}

/** A discard drops whole clusters; in a version 2 image, which cannot hide its backing file, it does nothing. */
function discardOf(offset: number, length: number, shape: EngineShape): ModelChange | undefined {
  const { clusterSize, size } = shape;
  if (shape.version === 2 && shape.hasBacking) return undefined;
  const start = Math.ceil(offset / clusterSize) * clusterSize;
  const end = offset + length === size ? size : Math.floor((offset + length) / clusterSize) * clusterSize;
  return end <= start ? undefined : { offset: start, bytes: new Uint8Array(end - start) };
}

export async function applyToModel(
  operation: EngineOperation,
  shape: EngineShape,
  model: DiskModel,
): Promise<void> {
  const change = changeOf(operation, shape);
  if (change !== undefined) await model.write(change.offset, change.bytes);
}

export async function applyToImage(operation: EngineOperation, image: Qcow2Image): Promise<void> {
  switch (operation.kind) {
    case "flush":
      return await image.flush();
    case "write":
      return await image.write({
        offset: operation.offset,
        from: content({ ...operation, kind: operation.content }),
      });
    case "write-compressed":
      return await writeCompressed(
        image,
        operation.offset,
        content({ ...operation, kind: operation.content }),
      );
    case "write-stored":
      return await writeStored(image, operation.offset, content({ ...operation, kind: operation.content }));
    case "discard":
      return await image.discard({ offset: operation.offset, length: operation.length });
    default: {
      const { offset, length } = operation;
      return await image.writeZeroes({ offset, length, unmap: operation.kind === "unmap" });
    }
  }
}

async function writeStored(image: Qcow2Image, offset: number, bytes: Uint8Array): Promise<void> {
  const storage = new MemoryStorage({ bytes });
  const from = { storage, offset: 0, length: bytes.length };
  if (!(await image.writeStored({ offset, from }))) await image.write({ offset, from: bytes });
}

/** All clusters at once, as a converter does: by one, two or three. */
async function writeCompressed(image: Qcow2Image, offset: number, from: Uint8Array): Promise<void> {
  const { clusterSize } = image.info();
  const step = clusterSize * (1 + (Math.floor(offset / clusterSize) % 3));
  const writes: Promise<void>[] = [];
  for (let at = 0; at < from.length; at += step) {
    writes.push(image.writeCompressed({ offset: offset + at, from: from.subarray(at, at + step) }));
  }
  await Promise.all(writes);
}
