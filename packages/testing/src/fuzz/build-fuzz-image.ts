/** Makes the valid image that a case breaks. */
import { type Codecs, isQcow2Error, Qcow2Image, RawDisk } from "@qcow2/core";
import { content } from "../content.ts";
import type { FuzzShape, FuzzStep } from "./fuzz-case.ts";
import { FuzzStorage } from "./fuzz-storage.ts";

/** The bytes of an image and of what belongs to it. */
export interface FuzzFiles {
  readonly image: Uint8Array;
  readonly data: Uint8Array | undefined;
  readonly backing: { readonly format: "raw" | "qcow2"; readonly bytes: Uint8Array } | undefined;
}

const INCOMPATIBLE_FEATURES_AT = 72;
const MARK_BITS = { dirty: 1, corrupt: 2 } as const;

export async function buildFuzzImage(shape: FuzzShape, codecs: Codecs): Promise<FuzzFiles> {
  const { options, steps, dataFile } = shape;
  const clusterSize = options.clusterSize ?? 65536;
  const size = Math.floor((shape.clusters * clusterSize) / 512) * 512;
  const backing = await backingOf(shape, clusterSize, codecs);
  const storage = new FuzzStorage({ name: "image", bytes: new Uint8Array(0) });
  const data = dataFile && new FuzzStorage({ name: "data", bytes: new Uint8Array(0) });
  const image = await Qcow2Image.create({
    ...options,
    storage,
    size,
    codecs,
    ...(data && { dataFile: { name: "data", storage: data, raw: dataFile === "raw" } }),
    ...(backing && { backingFile: { name: "backing", format: backing.format } }),
    references: {
      openBackingFile: async () => await openBacking(backing as NonNullable<FuzzFiles["backing"]>, codecs),
      openDataFile: async () => data as FuzzStorage,
    },
  });
  let bitmaps = 0;
  for (const step of steps) {
    if (step.kind === "bitmap") bitmaps++;
    try {
      await runStep(image, step, { clusterSize, bitmaps });
    } catch (error) {
      // Narrow refcounts count few snapshots.
      if (!isQcow2Error(error, "limit-exceeded")) throw error;
    }
  }
  await image.close();
  const bytes = storage.content.slice();
  for (const mark of shape.marks ?? []) bytes[INCOMPATIBLE_FEATURES_AT + 7]! |= MARK_BITS[mark];
  return { image: bytes, data: data?.content.slice(), backing };
}

/** The backing file's disk, over a copy of its bytes. */
export async function openBacking(
  { format, bytes }: NonNullable<FuzzFiles["backing"]>,
  codecs: Codecs,
): Promise<RawDisk | Qcow2Image> {
  const storage = new FuzzStorage({ name: "backing", bytes: bytes.slice() });
  if (format === "raw") return await RawDisk.open({ storage, readOnly: true });
  return await Qcow2Image.open({ storage, readOnly: true, codecs });
}

async function backingOf(
  { backing }: FuzzShape,
  clusterSize: number,
  codecs: Codecs,
): Promise<FuzzFiles["backing"]> {
  if (backing === undefined) return undefined;
  // A length that is no multiple of a cluster.
  const length = Math.floor(backing.clusters * clusterSize);
  const bytes = content({ kind: "stamps", seed: 77, length });
  if (backing.format === "raw") return { format: "raw", bytes };
  const storage = new FuzzStorage({ name: "backing", bytes: new Uint8Array(0) });
  const image = await Qcow2Image.create({ storage, size: length, clusterSize: 4096, codecs });
  const written = Math.min(image.size, length) & ~511;
  await image.write({ offset: 0, from: bytes.subarray(0, written) });
  await image.close();
  return { format: "qcow2", bytes: storage.content.slice() };
}

async function runStep(
  image: Qcow2Image,
  step: FuzzStep,
  { clusterSize, bitmaps }: { readonly clusterSize: number; readonly bitmaps: number },
): Promise<void> {
  switch (step.kind) {
    case "write": {
      const { offset, length } = rangeOf(image.size, step, clusterSize, 1);
      if (length > 0)
        await image.write({ offset, from: content({ ...step, kind: step.content, offset, length }) });
      return;
    }
    case "compress": {
      const { offset, length } = rangeOf(image.size, step, clusterSize, clusterSize);
      if (length > 0)
        await image.writeCompressed({
          offset,
          from: content({ ...step, kind: step.content, offset, length }),
        });
      return;
    }
    case "zero":
    case "unmap": {
      const range = rangeOf(image.size, step, clusterSize, 1);
      if (range.length > 0) await image.writeZeroes({ ...range, unmap: step.kind === "unmap" });
      return;
    }
    case "discard": {
      const range = rangeOf(image.size, step, clusterSize, 1);
      if (range.length > 0) await image.discard(range);
      return;
    }
    case "snapshot":
      await image.createSnapshot({ name: `s${image.info().snapshots.length}`, date: new Date(0) });
      return;
    case "bitmap":
      await image.changeBitmaps([
        { kind: "add", name: `b${bitmaps}`, granularity: step.granularity, enabled: step.enabled },
      ]);
  }
}

/** Bytes of a range that is given in clusters, within the disk: modulo its size, and in whole units. */
export function rangeOf(
  size: number,
  { at, count }: { readonly at: number; readonly count: number },
  clusterSize: number,
  unit: number,
): { readonly offset: number; readonly length: number } {
  if (size === 0) return { offset: 0, length: 0 };
  const offset = Math.floor((Math.floor(at * clusterSize) % size) / unit) * unit;
  const length = Math.max(1, Math.ceil((count * clusterSize) / unit)) * unit;
  return { offset, length: Math.min(length, size - offset) };
}
