/**
 * Rebuilds the refcounts of an image whose own cannot be trusted (specification: "Host cluster management"). A new table
 * and new blocks are written where nothing is and held against the image by a check; only then does the header switch to
 * them, in one write of one sector. A power cut before that leaves the image as it was.
 */
import { Qcow2Error } from "../../errors.ts";
import { FEATURE_TYPE_AUTOCLEAR, INCOMPATIBLE_DIRTY, knownFeatureMask } from "../../format/feature-bits.ts";
import {
  HEADER_AUTOCLEAR_FEATURES_AT,
  HEADER_INCOMPATIBLE_FEATURES_AT,
  HEADER_REFCOUNT_TABLE_AT,
} from "../../format/header.ts";
import { viewOf, writeUint64 } from "../../format/uint64.ts";
import { readExactly } from "../../storage/read-exactly.ts";
import type { Storage } from "../../storage/storage.ts";
import { checkImage } from "../check/check-image.ts";
import { checkNewMetadata } from "../check/check-new-metadata.ts";
import type { CheckFinding, CheckOptions } from "../check-result.ts";
import type { ImageLayout, TableLocation } from "../image-layout.ts";
import { assertDataPlace } from "./assert-data-place.ts";
import { irreparableIn } from "./irreparable.ts";
import { placeRefcounts } from "./place-refcounts.ts";
import { RefcountWriter } from "./refcount-writer.ts";
import { RepairFile } from "./repair-file.ts";

/** The header's bytes from the refcount table's offset to the end of the features. */
const SWITCHED_BYTES: number = HEADER_AUTOCLEAR_FEATURES_AT + 8 - HEADER_REFCOUNT_TABLE_AT;
/** Offset and cluster count of the refcount table. */
const TABLE_FIELDS_BYTES = 12;

/** Findings about refcounts alone, and what follows from them. */
const REFCOUNT_CODES: ReadonlySet<CheckFinding["code"]> = new Set([
  "leaked-cluster",
  "refcount-too-low",
  "refcount-block",
  "copied-flag",
]);

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
  const file = await RepairFile.open(storage, layout, options.signal);
  // What is written inside the file has to be known to be free: an image with damage says too little about that.
  if (storage.fixedSize === true) {
    if ((await irreparableIn(file.storage, layout)).length > 0) throw otherDamage();
    await assertSound(file.storage, withoutRefcounts(layout), {
      ...options,
      accepts: ({ code }) => REFCOUNT_CODES.has(code),
    });
  }
  await rebuildRefcountsIn(file, layout, options);
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
  const place = await placeRefcounts(file, layout.geometry);
  const writer = new RefcountWriter(file, layout.geometry, place);
  await checkImage({ storage: file.storage, layout: withoutRefcounts(layout) }, options, async (window) => {
    const { first, end, counts } = window;
    for (let cluster = first; cluster < end; cluster++) {
      const count = counts[cluster - first] as number;
      if (count > 0) await writer.set(cluster, count);
    }
  });
  return await writer.finish();
}

/** Without a refcount table, a check counts references to everything but the old refcounts. */
function withoutRefcounts(layout: ImageLayout): ImageLayout {
  return { ...layout, refcountTable: { offset: 0, length: 0 } };
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
  if (refused > 0) throw otherDamage();
}

function otherDamage(): Qcow2Error<"needs-repair"> {
  return new Qcow2Error(
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
