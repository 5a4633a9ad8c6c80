/**
 * Rebuilds the refcounts of an image whose own cannot be trusted (specification: "Host cluster management"). A new table
 * and new blocks are written behind the end of the file and held against the image by a check; only then does the header
 * switch to them, in one write of one sector. A power cut before that leaves the image as it was.
 */
import { assert, Qcow2Error } from "../../errors.ts";
import { FEATURE_TYPE_AUTOCLEAR, INCOMPATIBLE_DIRTY, knownFeatureMask } from "../../format/feature-bits.ts";
import {
  HEADER_AUTOCLEAR_FEATURES_AT,
  HEADER_INCOMPATIBLE_FEATURES_AT,
  HEADER_REFCOUNT_TABLE_AT,
} from "../../format/header.ts";
import {
  REFCOUNT_TABLE_ENTRY_BYTES,
  type RefcountCodec,
  refcountCodec,
  setRefcountTableEntry,
} from "../../format/refcount-entry.ts";
import { viewOf, writeUint64 } from "../../format/uint64.ts";
import { MAX_REFCOUNT_TABLE_BYTES } from "../../limits.ts";
import { readExactly } from "../../storage/read-exactly.ts";
import type { Storage } from "../../storage/storage.ts";
import { checkImage } from "../check/check-image.ts";
import { checkNewMetadata } from "../check/check-new-metadata.ts";
import type { CheckFinding, CheckOptions } from "../check-result.ts";
import type { ImageLayout, TableLocation } from "../image-layout.ts";
import { assertDataPlace } from "./assert-data-place.ts";
import { rebuildRefcountsInside } from "./rebuild-inside.ts";
import { RepairFile } from "./repair-file.ts";

/** The header's bytes from the refcount table's offset to the end of the features. */
const SWITCHED_BYTES: number = HEADER_AUTOCLEAR_FEATURES_AT + 8 - HEADER_REFCOUNT_TABLE_AT;
/** Offset and cluster count of the refcount table. */
const TABLE_FIELDS_BYTES = 12;

export interface RebuildOptions extends Pick<CheckOptions, "signal" | "memoryBytes"> {
  /** Whether to switch although the check of the new refcounts has that finding; default: none is accepted. */
  readonly accepts?: (finding: CheckFinding) => boolean;
}

/**
 * Gives the image refcounts that say what its tables say, and clears its dirty bit and autoclear bits that are not known.
 * Nothing of it is changed if it has other damage than wrong refcounts.
 * @throws Qcow2Error "needs-repair" if there is other damage, "limit-exceeded", "io"; the signal's reason
 */
export async function rebuildRefcounts(
  storage: Storage,
  layout: ImageLayout,
  options: Pick<RebuildOptions, "signal" | "memoryBytes"> = {},
): Promise<void> {
  assertDataPlace(layout);
  if (storage.fixedSize === true) {
    await rebuildRefcountsInside(storage, layout);
    return;
  }
  await rebuildRefcountsIn(await RepairFile.open(storage, layout, options.signal), layout, options);
}

/** As {@link rebuildRefcounts}, as a step of a repair; the dirty bit stays if findings are accepted. */
export async function rebuildRefcountsIn(
  file: RepairFile,
  layout: ImageLayout,
  options: RebuildOptions,
): Promise<void> {
  const sizeBefore = await file.storage.size();
  let refcountTable: TableLocation;
  try {
    refcountTable = await writeNewRefcounts(file, layout, options);
    await file.flush();
    await assertSound(file.storage, { ...layout, refcountTable }, options);
  } catch (error) {
    // What was written behind the end is of no use to anybody; the image itself is untouched. Where cutting it off fails,
    // too, the file is only longer: the first failure is the one to tell.
    await file.cutBack(sizeBefore).catch(() => undefined);
    throw error;
  }
  // Whatever fails from here on, the header may point at the new table: it has to stay.
  await switchTo(file, refcountTable, {
    clusterSize: layout.geometry.clusterSize,
    hasFeatures: layout.header.version >= 3,
    isClean: options.accepts === undefined,
  });
}

/** Counts all references and writes blocks and a table that say so; returns where the table is. */
async function writeNewRefcounts(
  file: RepairFile,
  layout: ImageLayout,
  options: Pick<CheckOptions, "signal" | "memoryBytes">,
): Promise<TableLocation> {
  const { storage } = file;
  const firstNew = file.reserve(await clustersForRefcounts(file, layout)) / layout.geometry.clusterSize;
  const writer = new RefcountWriter(file, layout, firstNew);
  // Without a refcount table, a check counts references to everything but the old refcounts.
  const withoutRefcounts = { ...layout, refcountTable: { offset: 0, length: 0 } };
  await checkImage({ storage, layout: withoutRefcounts }, options, async ({ first, end, counts }) => {
    for (let cluster = first; cluster < Math.min(end, firstNew); cluster++) {
      const count = counts[cluster - first] as number;
      if (count > 0) await writer.set(cluster, count);
    }
  });
  return await writer.finish();
}

/** Clusters that refcount blocks and a table for all of the file take at most, those that count themselves included. */
async function clustersForRefcounts(file: RepairFile, { geometry }: ImageLayout): Promise<number> {
  const { clusterSize, refcountsPerBlock } = geometry;
  const fileClusters = Math.ceil((await file.storage.size()) / clusterSize);
  let taken = 1;
  for (;;) {
    // What lies behind the file begins somewhere within a block, and may be some way behind it.
    const blocks = Math.ceil(fileClusters / refcountsPerBlock) + Math.ceil(taken / refcountsPerBlock) + 2;
    const entries = Math.ceil((file.reach + taken) / refcountsPerBlock) + 1;
    const needed = blocks + Math.ceil((entries * REFCOUNT_TABLE_ENTRY_BYTES) / clusterSize);
    if (needed <= taken) return taken;
    taken = needed;
  }
}

/** Writes refcounts in the order of their clusters. */
class RefcountWriter {
  readonly #file: RepairFile;
  readonly #clusterSize: number;
  readonly #refcountsPerBlock: number;
  readonly #codec: RefcountCodec;
  readonly #firstNew: number;
  /** Indexes of the blocks, in the order in which they are written from the first new cluster on. */
  readonly #blocks: number[] = [];
  #block: Uint8Array;

  constructor(file: RepairFile, { geometry }: ImageLayout, firstNew: number) {
    this.#file = file;
    this.#clusterSize = geometry.clusterSize;
    this.#refcountsPerBlock = geometry.refcountsPerBlock;
    this.#codec = refcountCodec(Math.log2(geometry.refcountBits));
    this.#firstNew = firstNew;
    this.#block = new Uint8Array(geometry.clusterSize);
  }

  async set(cluster: number, count: number): Promise<void> {
    const index = Math.floor(cluster / this.#refcountsPerBlock);
    const current = this.#blocks[this.#blocks.length - 1];
    if (current !== index) {
      assert(current === undefined || current < index, "refcounts come in the order of their clusters");
      await this.#writeBlock();
      this.#blocks.push(index);
      this.#block.fill(0);
    }
    this.#codec.set(viewOf(this.#block), cluster % this.#refcountsPerBlock, count);
  }

  /** Counts the new blocks and the new table themselves, and writes the table. */
  async finish(): Promise<TableLocation> {
    const { blocks, tableClusters } = this.#plan();
    const end = this.#firstNew + blocks + tableClusters;
    for (let cluster = this.#firstNew; cluster < end; cluster++) await this.set(cluster, 1);
    await this.#writeBlock();
    assert(this.#blocks.length === blocks, "as many refcount blocks as planned");
    const table = new Uint8Array(tableClusters * this.#clusterSize);
    for (const [written, index] of this.#blocks.entries()) {
      setRefcountTableEntry(viewOf(table), index, (this.#firstNew + written) * this.#clusterSize);
    }
    const offset = (this.#firstNew + blocks) * this.#clusterSize;
    await this.#file.writeNew(offset, table);
    return { offset, length: table.length };
  }

  /** How many blocks and table clusters there will be, those that count the new ones included. */
  #plan(): { readonly blocks: number; readonly tableClusters: number } {
    const lastIndex = this.#blocks[this.#blocks.length - 1] ?? -1;
    let total = 1;
    for (;;) {
      const firstIndex = Math.max(lastIndex + 1, Math.floor(this.#firstNew / this.#refcountsPerBlock));
      const endIndex = Math.floor((this.#firstNew + total - 1) / this.#refcountsPerBlock) + 1;
      const blocks = this.#blocks.length + Math.max(0, endIndex - firstIndex);
      const entries = Math.max(lastIndex + 1, endIndex);
      const tableClusters = Math.ceil((entries * REFCOUNT_TABLE_ENTRY_BYTES) / this.#clusterSize);
      if (tableClusters * this.#clusterSize > MAX_REFCOUNT_TABLE_BYTES) {
        throw new Qcow2Error("limit-exceeded", "The image is too large for a new refcount table", {
          what: "refcount table bytes",
          found: tableClusters * this.#clusterSize,
          maximum: MAX_REFCOUNT_TABLE_BYTES,
        });
      }
      if (blocks + tableClusters <= total) return { blocks, tableClusters };
      total = blocks + tableClusters;
    }
  }

  async #writeBlock(): Promise<void> {
    if (this.#blocks.length === 0) return;
    const cluster = this.#firstNew + this.#blocks.length - 1;
    await this.#file.writeNew(cluster * this.#clusterSize, this.#block);
  }
}

/** With its new refcounts, the image has to be without any finding that is not accepted. */
async function assertSound(
  storage: Storage,
  layout: ImageLayout,
  { accepts, ...options }: RebuildOptions,
): Promise<void> {
  let refused = 0;
  await checkNewMetadata(
    { storage, layout },
    {
      ...options,
      onFinding: (finding) => {
        if (accepts?.(finding) !== true) refused++;
      },
    },
  );
  if (refused === 0) return;
  throw new Qcow2Error(
    "needs-repair",
    "Image is dirty, and has damage that new refcounts do not mend; it was left as it is",
    { state: "dirty" },
  );
}

/** Points the header at the new table and, if all is well, clears the dirty bit and unknown bits, all in one sector. */
async function switchTo(
  file: RepairFile,
  table: TableLocation,
  {
    clusterSize,
    hasFeatures,
    isClean,
  }: { readonly clusterSize: number; readonly hasFeatures: boolean; readonly isClean: boolean },
): Promise<void> {
  // Version 2 headers end before the features.
  const bytes = new Uint8Array(hasFeatures ? SWITCHED_BYTES : TABLE_FIELDS_BYTES);
  await readExactly(file.storage, HEADER_REFCOUNT_TABLE_AT, bytes, "Header");
  const view = viewOf(bytes);
  writeUint64(view, 0, table.offset);
  view.setUint32(8, table.length / clusterSize);
  if (hasFeatures) {
    const incompatibleAt = HEADER_INCOMPATIBLE_FEATURES_AT - HEADER_REFCOUNT_TABLE_AT;
    const autoclearAt = HEADER_AUTOCLEAR_FEATURES_AT - HEADER_REFCOUNT_TABLE_AT;
    if (isClean) {
      view.setBigUint64(incompatibleAt, view.getBigUint64(incompatibleAt) & ~INCOMPATIBLE_DIRTY);
    }
    // Whoever writes to an image clears what it does not know (specification: "autoclear_features").
    const known = knownFeatureMask(FEATURE_TYPE_AUTOCLEAR);
    view.setBigUint64(autoclearAt, view.getBigUint64(autoclearAt) & known);
  }
  await file.writeHeader(HEADER_REFCOUNT_TABLE_AT, bytes);
  await file.flush();
}
