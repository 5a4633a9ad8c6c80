/** Draws cases by seed: the same seed and index give the same case, whatever was drawn before. */
import type { CompressionType } from "@qcow2/core";
import { CONTENT_KINDS } from "../content.ts";
import { Random } from "../random.ts";
import { BITMAP_FIELDS, HEADER_FIELDS, SNAPSHOT_FIELDS } from "./apply-breaks.ts";
import type {
  Break,
  BreakChange,
  BreakPlace,
  FuzzCase,
  FuzzChange,
  FuzzOpenOptions,
  FuzzShape,
  FuzzStep,
} from "./fuzz-case.ts";

/** Images in a row that are broken variants of one valid image: making it costs more than breaking it. */
export const IMAGES_OF_A_SHAPE = 8;

export interface DrawOptions {
  readonly seed: number;
  readonly compressionTypes: readonly CompressionType[];
  /** One shape in so many is made by QEMU, which may compress in other ways, too; 0 for none. */
  readonly byQemu?: number;
  readonly qemuCompressionTypes?: readonly CompressionType[];
}

/** Case number `index` of a seed. */
export function drawCase(index: number, options: DrawOptions): FuzzCase {
  const shape = drawShape(randomFor(options.seed, Math.floor(index / IMAGES_OF_A_SHAPE) * 2), options);
  const random = randomFor(options.seed, index * 2 + 1);
  const breaks = Array.from({ length: 1 + random.below(5) }, () => drawBreak(random));
  const changes = Array.from({ length: 1 + random.below(4) }, () => drawChange(random));
  return { shape, breaks, changes, open: drawOpenOptions(random) };
}

function randomFor(seed: number, index: number): Random {
  const random = new Random(Math.imul(seed ^ 0x9e3779b9, 0x85ebca6b) ^ Math.imul(index + 1, 0xc2b2ae35));
  random.uint32();
  return random;
}

/** True once in `times`. */
function once(random: Random, times: number): boolean {
  return random.below(times) === 0;
}

function drawShape(random: Random, options: DrawOptions): FuzzShape {
  const { byQemu = 0 } = options;
  const isQemus = byQemu > 0 && once(random, byQemu);
  const compressionTypes = (isQemus ? options.qemuCompressionTypes : undefined) ?? options.compressionTypes;
  const clusterBits = once(random, 120)
    ? 18 + random.below(4)
    : random.pick([9, 9, 9, 10, 11, 12, 12, 13, 14, 14, 15, 16]);
  const clusterSize = 2 ** clusterBits;
  const version = once(random, 5) ? 2 : 3;
  const dataFile = version === 3 && once(random, 10) ? random.pick(["plain", "raw"] as const) : undefined;
  const hasBacking = dataFile !== "raw" && once(random, 3);
  const extendedL2 = version === 3 && clusterBits >= 14 && once(random, 2);
  const refcountBits = version === 2 ? 16 : random.pick([1, 2, 4, 8, 16, 16, 16, 32, 64]);
  const preallocation =
    !hasBacking && once(random, 8) ? random.pick(["metadata", "full"] as const) : undefined;
  const clusters = random.pick(clustersOf(clusterBits));
  const isV3 = version === 3;
  const imageOptions: FuzzShape["options"] = {
    version,
    clusterSize,
    ...(isV3 && {
      refcountBits,
      extendedL2,
      lazyRefcounts: once(random, 4),
      compressionType: random.pick(compressionTypes),
    }),
    ...(preallocation && { preallocation }),
  };
  const steps = Array.from({ length: 2 + random.below(7) }, () =>
    drawStep(random, {
      clusters,
      canCompress: dataFile === undefined,
      canShare: dataFile === undefined && refcountBits > 1,
      canTrack: isV3,
    }),
  );
  const marks = isV3 && once(random, 8) ? [random.pick(["dirty", "dirty", "corrupt"] as const)] : undefined;
  return {
    options: imageOptions,
    clusters,
    ...(hasBacking && {
      backing: {
        format: random.pick(["raw", "qcow2"] as const),
        clusters: random.pick([clusters + 1, clusters / 2, clusters]),
      },
    }),
    ...(dataFile && { dataFile }),
    steps,
    ...(marks && { marks }),
    ...(isQemus && { byQemu: true }),
  };
}

/** Large clusters make large files, and nothing else: few of them. */
function clustersOf(clusterBits: number): readonly number[] {
  if (clusterBits > 16) return [2.5];
  if (clusterBits > 13) return [3, 6.5];
  if (clusterBits > 10) return [3, 10.5, 20.5];
  return [3, 10.5, 40.5, 41, 130];
}

function drawStep(
  random: Random,
  can: {
    readonly clusters: number;
    readonly canCompress: boolean;
    readonly canShare: boolean;
    readonly canTrack: boolean;
  },
): FuzzStep {
  const at = random.below(Math.ceil(can.clusters)) + random.pick([0, 0, 0.25, 0.5]);
  const count = random.pick([0.25, 1, 1, 2, 4, 7]);
  const kinds: FuzzStep["kind"][] = ["write", "write", "write", "zero", "unmap", "discard"];
  if (can.canCompress) kinds.push("compress", "compress");
  if (can.canShare) kinds.push("snapshot");
  if (can.canTrack) kinds.push("bitmap");
  const kind = random.pick(kinds);
  switch (kind) {
    case "write":
    case "compress":
      return { kind, at, count, content: random.pick(CONTENT_KINDS), seed: random.below(0xffff) };
    case "zero":
    case "unmap":
    case "discard":
      return { kind, at, count };
    case "snapshot":
      return { kind };
    case "bitmap":
      return { kind, granularity: random.pick([512, 4096, 65536]), enabled: once(random, 2) };
  }
}

const HEADER_NAMES = Object.keys(HEADER_FIELDS);
const SNAPSHOT_NAMES = Object.keys(SNAPSHOT_FIELDS);
const BITMAP_NAMES = Object.keys(BITMAP_FIELDS);

function drawBreak(random: Random): Break {
  const where = drawPlace(random);
  return { where, change: drawChangeOf(random, where) };
}

function drawPlace(random: Random): BreakPlace {
  const pick = random.below(2 ** 16);
  const used = !once(random, 4);
  switch (random.below(22)) {
    case 0:
    case 1:
      return { kind: "header", field: random.pick(HEADER_NAMES) };
    case 2:
      return { kind: "extension", pick, part: random.pick(["type", "length", "data"] as const) };
    case 3:
    case 4:
    case 5:
      return { kind: "l1", tree: once(random, 3) ? pick : 0, pick: random.below(2 ** 16), used };
    case 6:
    case 7:
    case 8:
    case 9:
      return { kind: "l2", table: pick, pick: random.below(2 ** 16), used };
    case 10:
      return { kind: "subclusters", table: pick, pick: random.below(2 ** 16), used };
    case 11:
      return { kind: "compressed-data", table: pick, pick: random.below(2 ** 16), used };
    case 12:
    case 13:
      return { kind: "refcount-table", pick };
    case 14:
    case 15:
      return { kind: "refcount", pick, value: random.pick([0, 0, 1, 2, 3, 7, 255, 65535, 2 ** 32 - 1]) };
    case 16:
      return { kind: "refcount-block", pick, byte: random.below(2 ** 16) };
    case 17:
      return { kind: "snapshot", pick, field: random.pick(SNAPSHOT_NAMES) };
    case 18:
      return { kind: "bitmap", pick, field: random.pick(BITMAP_NAMES) };
    case 19:
      return { kind: "bitmap-table", bitmap: pick, pick: random.below(2 ** 16) };
    case 20:
      return { kind: "bitmap-data", bitmap: pick, pick: random.below(2 ** 16) };
    default:
      return {
        kind: "end",
        bytes: random.pick([-1, -512, -4096, -random.below(2 ** 16), 1, 512, 4096, random.below(2 ** 16)]),
        content: random.pick(["zeroes", "garbage"] as const),
      };
  }
}

/** Next to what numbers can hold, to what offsets can be, and to flags. */
const VALUES: readonly string[] = [
  "0x0",
  "0x1",
  "0x2",
  "0x200",
  "0x10000",
  "0x7fffffff",
  "0x80000000",
  "0xffffffff",
  "0x100000000",
  "0x1ffffffffffe00",
  "0x1fffffffffffff",
  "0x20000000000000",
  "0x1fffffffff0000",
  "0x3fffffffffff0000",
  "0xfffffffffffe00",
  "0xffffffffff0000",
  "0x100000000000000",
  "0x4000000000000000",
  "0x4000000000000200",
  "0x7fffffffffffffff",
  "0x8000000000000000",
  "0x8000000000000001",
  "0x801fffffffff0000",
  "0x8020000000000000",
  "0x80ffffffffff0000",
  "0xc000000000000000",
  "0xffffffffffffffff",
  "0xfffffffffffffe00",
];

function drawChangeOf(random: Random, where: BreakPlace): BreakChange {
  const isPointer =
    where.kind === "l1" ||
    where.kind === "l2" ||
    where.kind === "refcount-table" ||
    where.kind === "bitmap-table" ||
    (where.kind === "header" && /Offset/.test(where.field)) ||
    ((where.kind === "snapshot" || where.kind === "bitmap") && /table|l1Offset/.test(where.field));
  const keepFlags = once(random, 2);
  const way = isPointer ? random.below(10) : 5 + random.below(5);
  if (way < 3)
    return { kind: "point", pick: random.below(2 ** 16), plus: random.pick([0, 0, 0, 512, 1]), keepFlags };
  if (way < 4) return { kind: "behind", clusters: random.pick([-2, -1, 0, 1, 2, 100, 2 ** 20]), keepFlags };
  if (way < 6) return { kind: "flip", bit: random.below(64) };
  if (way < 7) return { kind: "add", amount: random.pick([-512, -1, 1, 1, 8, 512, 4096, 65536]) };
  if (way < 9) return { kind: "value", hex: random.pick(VALUES) };
  return {
    kind: "value",
    hex: `0x${(BigInt(random.uint32()) * 2n ** 32n + BigInt(random.uint32())).toString(16)}`,
  };
}

function drawOpenOptions(random: Random): FuzzOpenOptions {
  return {
    cacheBytes: random.pick([1, 1, 4096, 2 ** 20]),
    discard: random.pick(["ignore", "unmap"] as const),
    overlapCheck: random.pick(["cached", "cached", "none", "constant", "all"] as const),
    metadataOnly: once(random, 12),
    sparse: once(random, 4),
  };
}

function drawChange(random: Random): FuzzChange {
  const at = random.below(130) + random.pick([0, 0, 0.25, 0.5]);
  const count = random.pick([0.1, 0.5, 1, 1, 2, 5]);
  const pick = random.below(2 ** 16);
  const kind = random.pick<FuzzChange["kind"]>([
    "write",
    "write",
    "write",
    "compress",
    "compress",
    "stored",
    "zero",
    "unmap",
    "discard",
    "discard",
    "reveal",
    "flush",
    "check",
    "make-empty",
    "create-snapshot",
    "create-snapshot",
    "apply-snapshot",
    "delete-snapshot",
    "delete-snapshot",
    "resize",
    "resize",
    "amend",
    "amend",
    "bitmaps",
    "bitmaps",
    "set-backing",
  ]);
  switch (kind) {
    case "write":
    case "compress":
    case "stored":
      return { kind, at, count, content: random.pick(CONTENT_KINDS), seed: random.below(0xffff) };
    case "zero":
    case "unmap":
    case "discard":
    case "reveal":
      return { kind, at, count };
    case "flush":
    case "check":
    case "make-empty":
    case "create-snapshot":
      return { kind };
    case "apply-snapshot":
    case "delete-snapshot":
      return { kind, pick };
    case "resize":
      return {
        kind,
        by: random.pick([-3, -0.5, 0.5, 1, 70]),
        preallocation: random.pick(["off", "off", "metadata"] as const),
      };
    case "amend":
      return random.pick<FuzzChange>([
        { kind, version: 2 },
        { kind, version: 3 },
        { kind, refcountBits: random.pick([1, 2, 4, 8, 16, 32, 64]) },
        { kind, lazyRefcounts: once(random, 2) },
        { kind, version: 2, refcountBits: 16 },
      ]);
    case "bitmaps":
      return {
        kind,
        action: random.pick(["add", "remove", "clear", "enable", "disable", "merge"] as const),
        pick,
      };
    case "set-backing":
      return { kind, to: random.pick(["none", "raw"] as const) };
  }
}
