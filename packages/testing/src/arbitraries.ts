/** fast-check arbitraries for image options and content. Everything drawn is plain JSON and valid in QEMU too. */
import type { CompressionType, ImageOptions, Preallocation } from "@qcow2/core";
import fc from "fast-check";
import { CONTENT_KINDS } from "./content.ts";
import type {
  DrawnChain,
  DrawnLayer,
  DrawnOperation,
  DrawnQcow2Layer,
  DrawnRawLayer,
} from "./drawn-chain.ts";

export interface ChainArbitraryOptions {
  /** The operations to draw from. Default: write, write-zeroes, unmap, write-compressed. */
  readonly operations?: readonly DrawnOperation["kind"][];
  /** Compression types that both sides can write. Default both. */
  readonly compressionTypes?: readonly CompressionType[];
  /** Layers below the top, at most. Default 2. */
  readonly maxBacking?: number;
  /** Operations of a layer, at most. Default 12. */
  readonly maxOperations?: number;
}

const DEFAULT_OPERATIONS: readonly DrawnOperation["kind"][] = [
  "write",
  "write",
  "write-zeroes",
  "unmap",
  "write-compressed",
];

/** Clusters of a drawn disk, about: enough for several L2 tables with small clusters, little I/O with large ones. */
const MAX_DISK_BYTES = 12 * 2 ** 20;

/** Valid combinations of image options, without preallocation (which depends on backing and data files). */
export function imageOptionsArbitrary(
  options: Pick<ChainArbitraryOptions, "compressionTypes"> = {},
): fc.Arbitrary<ImageOptions> {
  const { compressionTypes = ["zlib", "zstd"] } = options;
  const clusterBits = fc.oneof(
    { weight: 3, arbitrary: fc.integer({ min: 9, max: 13 }) },
    { weight: 4, arbitrary: fc.integer({ min: 14, max: 17 }) },
    { weight: 1, arbitrary: fc.integer({ min: 18, max: 21 }) },
  );
  return fc
    .record({
      version: fc.constantFrom<2 | 3>(3, 3, 3, 2),
      clusterBits,
      refcountOrder: fc.integer({ min: 0, max: 6 }),
      lazyRefcounts: fc.boolean(),
      extendedL2: fc.boolean(),
      compressionType: fc.constantFrom(...compressionTypes),
    })
    .map((drawn): ImageOptions => {
      const clusterSize = 2 ** drawn.clusterBits;
      if (drawn.version === 2) return { version: 2, clusterSize };
      return {
        version: 3,
        clusterSize,
        refcountBits: 2 ** drawn.refcountOrder,
        lazyRefcounts: drawn.lazyRefcounts,
        extendedL2: drawn.extendedL2 && drawn.clusterBits >= 14,
        compressionType: drawn.compressionType,
      };
    });
}

/** Bytes, a multiple of 512 and seldom one of any cluster size. */
export function virtualSizeArbitrary(clusterSize: number): fc.Arbitrary<number> {
  // Small clusters get smaller disks, so that tables, not bytes, are what is exercised.
  const maximum = Math.min(MAX_DISK_BYTES, clusterSize * 1500);
  return fc.oneof(
    { weight: 5, arbitrary: fc.integer({ min: 1, max: maximum / 512 }).map((sectors) => sectors * 512) },
    { weight: 1, arbitrary: fc.constantFrom(0, 512, clusterSize, clusterSize * 3) },
  );
}

/** Guest ranges: at cluster boundaries, at sector boundaries, or anywhere. */
function rangeArbitrary(options: {
  readonly size: number;
  readonly clusterSize: number;
  readonly unit: number;
}): fc.Arbitrary<{ offset: number; length: number }> {
  const { size, clusterSize, unit } = options;
  const maxLength = Math.min(size, Math.max(clusterSize * 5, 65536));
  return fc
    .record({
      unit: fc.constantFrom(unit, unit, Math.max(unit, 512), clusterSize),
      offset: fc.nat(size),
      length: fc.integer({ min: 1, max: maxLength }),
    })
    .map((drawn) => {
      const offset = Math.min(
        Math.floor(drawn.offset / drawn.unit) * drawn.unit,
        Math.floor((size - 1) / unit) * unit,
      );
      const length = Math.ceil(drawn.length / drawn.unit) * drawn.unit;
      return { offset, length: Math.min(length, size - offset) };
    });
}

function operationArbitrary(options: {
  readonly kinds: readonly DrawnOperation["kind"][];
  readonly size: number;
  readonly clusterSize: number;
}): fc.Arbitrary<DrawnOperation> {
  const { kinds, size, clusterSize } = options;
  return fc
    .constantFrom(...kinds)
    .chain((kind) => {
      const unit = kind === "write-compressed" ? clusterSize : 1;
      const range =
        kind === "snapshot"
          ? fc.constant({ offset: 0, length: 0 })
          : rangeArbitrary({ size, clusterSize, unit });
      return fc.record({
        kind: fc.constant(kind),
        offset: range,
        content: fc.constantFrom(...CONTENT_KINDS),
        seed: fc.nat(0xffff),
      });
    })
    .map(({ kind, offset: range, content, seed }) => ({ kind, ...range, content, seed }));
}

function rawLayerArbitrary(options: ChainArbitraryOptions): fc.Arbitrary<DrawnRawLayer> {
  // Any length: a raw file need not end with a sector.
  return fc.integer({ min: 1, max: 3 * 2 ** 20 }).chain((size) =>
    fc.record({
      format: fc.constant("raw" as const),
      size: fc.constant(size),
      operations: fc.array(operationArbitrary({ kinds: ["write"], size, clusterSize: 65536 }), {
        maxLength: Math.min(4, options.maxOperations ?? 12),
      }),
    }),
  );
}

function qcow2LayerArbitrary(
  options: ChainArbitraryOptions & { readonly hasBacking: boolean },
): fc.Arbitrary<DrawnQcow2Layer> {
  const { operations = DEFAULT_OPERATIONS, maxOperations = 12, hasBacking } = options;
  return fc
    .record({
      image: imageOptionsArbitrary(options),
      dataFile: fc.constantFrom<DrawnQcow2Layer["dataFile"]>("none", "none", "none", "none", "plain", "raw"),
      preallocation: fc.constantFrom<Preallocation>("off", "off", "off", "metadata", "falloc", "full"),
    })
    .chain(({ image, dataFile: drawnDataFile, preallocation: drawnPreallocation }) => {
      // What version 2 and backing files rule out is replaced by the nearest thing that is possible.
      const dataFile =
        image.version === 2 ? "none" : hasBacking && drawnDataFile === "raw" ? "plain" : drawnDataFile;
      const preallocation = hasBacking && image.extendedL2 !== true ? "off" : drawnPreallocation;
      const clusterSize = image.clusterSize ?? 65536;
      const kinds = operations.filter((kind) => {
        // One snapshot needs a refcount of 2; a data file holds neither snapshots nor compressed clusters.
        if (kind === "snapshot") return dataFile === "none" && (image.refcountBits ?? 16) > 1;
        return !(kind === "write-compressed" && dataFile !== "none");
      });
      return virtualSizeArbitrary(clusterSize).chain((size) =>
        fc.record({
          format: fc.constant("qcow2" as const),
          size: fc.constant(size),
          options: fc.constant({ ...image, preallocation }),
          dataFile: fc.constant(dataFile),
          operations:
            size === 0
              ? fc.constant([])
              : fc.array(operationArbitrary({ kinds, size, clusterSize }), { maxLength: maxOperations }),
        }),
      );
    });
}

/** Backing chains of raw and qcow2 layers whose sizes have nothing to do with each other. */
export function chainArbitrary(options: ChainArbitraryOptions = {}): fc.Arbitrary<DrawnChain> {
  const { maxBacking = 2 } = options;
  const base: fc.Arbitrary<DrawnLayer> = fc.oneof(
    rawLayerArbitrary(options),
    qcow2LayerArbitrary({ ...options, hasBacking: false }),
  );
  const chains: fc.Arbitrary<DrawnChain>[] = [
    qcow2LayerArbitrary({ ...options, hasBacking: false }).map((top) => ({ below: [], top })),
  ];
  const overlay = (): fc.Arbitrary<DrawnQcow2Layer> => qcow2LayerArbitrary({ ...options, hasBacking: true });
  if (maxBacking >= 1) chains.push(fc.record({ below: fc.tuple(base), top: overlay() }));
  if (maxBacking >= 2) chains.push(fc.record({ below: fc.tuple(base, overlay()), top: overlay() }));
  return fc.oneof(...chains);
}
