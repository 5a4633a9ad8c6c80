/** Where on the generated disk what lies: a pure plan, made by seed. */
import type { ContentKind } from "./content.ts";
import { Random } from "./random.ts";

/** A part of the disk that is written. What lies between extents is a hole. */
export interface PlannedExtent {
  /** Bytes from the start of the disk; a multiple of BLOCK_BYTES. */
  readonly offset: number;
  /** Bytes; a multiple of BLOCK_BYTES. */
  readonly length: number;
  readonly kind: ContentKind;
}

export interface LayoutOptions {
  readonly seed: number;
  /** Bytes; a multiple of BLOCK_BYTES. */
  readonly size: number;
  /** Bytes that extents take together, written zeroes included; a multiple of BLOCK_BYTES. */
  readonly dataBytes: number;
}

/** File systems allocate blocks of this size. */
export const BLOCK_BYTES = 4096;
/** As ext4's block groups: metadata at the start of each, then files. */
export const GROUP_BYTES: number = 128 * 2 ** 20;
const METADATA_BYTES = 256 * 1024;
const LARGEST_FILE_BYTES = 16 * 2 ** 20;

/** The share of the written bytes that is of each kind, in 1/1000. The order matters: it is the order of the draw. */
const SHARES: readonly (readonly [ContentKind, number])[] = [
  ["text", 300],
  ["binary", 570],
  ["packed", 80],
  ["zero", 50],
];

/**
 * Plans the extents in ascending order, without overlap. Files fill the first groups densely, with small gaps, and
 * later groups sparsely, as on a disk that was installed and then used.
 */
export function planDisk(options: LayoutOptions): readonly PlannedExtent[] {
  const { seed, size, dataBytes } = options;
  for (const [name, value] of Object.entries({ size, dataBytes })) {
    if (!Number.isSafeInteger(value) || value <= 0 || value % BLOCK_BYTES !== 0) {
      throw new RangeError(`${name} must be a positive multiple of ${BLOCK_BYTES}, not ${value}`);
    }
  }
  // Beyond this the gaps between the files do not fit any more.
  if (dataBytes > size * 0.8) throw new RangeError(`${dataBytes} bytes of data do not fit in ${size}`);
  const random = new Random(seed, "layout");
  const extents: PlannedExtent[] = [];
  const groups = Math.ceil(size / GROUP_BYTES);
  let remaining = dataBytes;
  for (let group = 0; group < groups && remaining > 0; group++) {
    const start = group * GROUP_BYTES;
    const end = Math.min(start + GROUP_BYTES, size);
    // Twice the average for what comes next, until the disk is nearly full.
    const average = remaining / (size - start);
    const density = Math.min(0.95, Math.max(average, 2 * average - 0.05));
    // Rounded up: what is left never becomes denser than it was, so that all of it fits.
    const budget = Math.min(remaining, Math.ceil(((end - start) * density) / BLOCK_BYTES) * BLOCK_BYTES);
    remaining -= fillGroup({ random, extents, start, end, budget });
  }
  return extents;
}

interface GroupPlan {
  readonly random: Random;
  readonly extents: PlannedExtent[];
  readonly start: number;
  /** Exclusive. */
  readonly end: number;
  readonly budget: number;
}

/** @returns the bytes planned */
function fillGroup({ random, extents, start, end, budget }: GroupPlan): number {
  let offset = start;
  let used = 0;
  const place = (kind: ContentKind, wanted: number): void => {
    const length = Math.min(wanted, end - offset, budget - used);
    if (length <= 0) return;
    extents.push({ offset, length, kind });
    offset += length;
    used += length;
  };
  // Bitmaps and inode tables: a little that compresses well, then zeroes that were written.
  place("binary", METADATA_BYTES / 4);
  place("zero", (METADATA_BYTES * 3) / 4);
  while (used < budget && offset < end) {
    place(drawKind(random), drawFileBytes(random));
    const slack = end - offset - (budget - used);
    if (slack > 0 && random.below(6) === 0) offset += Math.min(slack, drawGapBytes(random));
  }
  return used;
}

function drawKind(random: Random): ContentKind {
  let left = random.below(1000);
  for (const [kind, share] of SHARES) {
    if (left < share) return kind;
    left -= share;
  }
  return "text";
}

/** Many small files, and few large ones that hold most of the bytes: 4 KiB to 16 MiB, evenly on a logarithmic scale. */
function drawFileBytes(random: Random): number {
  // No Math.exp or Math.log: their last bit may differ between platforms.
  const doubling = random.below(12);
  const smallest = BLOCK_BYTES * 2 ** doubling;
  return Math.min(LARGEST_FILE_BYTES, smallest + blocks(random.fraction() * smallest));
}

function drawGapBytes(random: Random): number {
  return BLOCK_BYTES * 2 ** random.below(10);
}

function blocks(bytes: number): number {
  return Math.floor(bytes / BLOCK_BYTES) * BLOCK_BYTES;
}
