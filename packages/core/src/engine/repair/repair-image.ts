/**
 * Repairing a damaged image (specification: "Host cluster management", "Cluster mapping"). Every write goes through a
 * `RepairFile`, which knows what any reference reaches. Every step leaves the image at least as good as it was, so that a
 * power cut between two of them loses nothing and a second repair goes on from there:
 *
 * 1. tables that are not alone in their place, or not in the file as a whole, get one of their own, by one write of the
 *    header: the active L1 table, those of snapshots, the snapshot table, the bitmap directory;
 * 2. entries that lead nowhere, or say what no entry may say, are emptied or put right, one sector at a time;
 * 3. refcounts: in place where each is just a wrong number, else new ones where nothing is, and one switch;
 * 4. COPIED flags, which depend on the refcounts; then the dirty and corrupt bits, if nothing is wrong any more.
 *
 * What cannot be read is left as it is, and named. As long as it is there, no refcount is lowered: what it refers to would
 * look unused.
 */
import { Qcow2Error } from "../../errors.ts";
import {
  FEATURE_TYPE_AUTOCLEAR,
  INCOMPATIBLE_CORRUPT,
  INCOMPATIBLE_DIRTY,
  knownFeatureMask,
} from "../../format/feature-bits.ts";
import { l1EntriesFor } from "../../format/geometry.ts";
import {
  HEADER_AUTOCLEAR_FEATURES_AT,
  HEADER_INCOMPATIBLE_FEATURES_AT,
  HEADER_L1_AT,
} from "../../format/header.ts";
import { L1_ENTRY_BYTES } from "../../format/l1-entry.ts";
import { viewOf, writeUint64 } from "../../format/uint64.ts";
import { readExactly } from "../../storage/read-exactly.ts";
import type { Storage } from "../../storage/storage.ts";
import { checkImage } from "../check/check-image.ts";
import type { CheckFinding, CheckOptions, CheckResult } from "../check-result.ts";
import { ClusterSet } from "../cluster-set.ts";
import { type ImageLayout, readImageLayout } from "../image-layout.ts";
import { openImage } from "../open-image.ts";
import { assertDataPlace } from "./assert-data-place.ts";
import { copyL1Table } from "./copy-l1-table.ts";
import { fixCopiedFlags } from "./fix-copied-flags.ts";
import { fixRefcounts, noteUndercounted } from "./fix-refcounts.ts";
import { irreparableIn } from "./irreparable.ts";
import { mendBitmaps } from "./mend-bitmaps.ts";
import { mendSnapshots } from "./mend-snapshots.ts";
import { mendTables } from "./mend-tables.ts";
import { rebuildRefcountsIn } from "./rebuild-refcounts.ts";
import { RepairFile } from "./repair-file.ts";
import type { Irreparable, RepairOptions, RepairResult } from "./repair-options.ts";

/** Findings for which wrong numbers in refcount blocks are enough of an explanation. */
const REFCOUNT_CODES: ReadonlySet<CheckFinding["code"]> = new Set(["leaked-cluster", "refcount-too-low"]);
/** Findings that are corruptions, and over when all refcounts are right. */
const WRONG_REFCOUNT_CODES: ReadonlySet<CheckFinding["code"]> = new Set([
  "refcount-too-low",
  "refcount-block",
]);

/**
 * Repairs the qcow2 image in `storage`, which nobody else may have open. Guest data that could be read before can be
 * read afterwards, in snapshots, too; what led nowhere reads as zeroes, or as the backing file. Snapshots and bitmaps that
 * cannot be read are left as they are unless `discardSnapshots` or `discardBitmaps` is given. An image without findings
 * is not written to, except for autoclear bits that are not known.
 * @throws Qcow2Error as `checkStorage`; "needs-repair" if the active L1 table is not in the file: nothing is left that
 *   tells where data is, and freeing it would make that final; also if the header contradicts itself about an external data
 *   file; "read-only", "io"; the signal's reason
 */
export async function repairStorage(storage: Storage, options: RepairOptions): Promise<RepairResult> {
  const { what, onRepair, onRemaining, discardSnapshots, discardBitmaps, ...checkOptions } = options;
  const found = new Map<CheckFinding["code"], number>();
  const layout = await readImageLayout(storage, { forCheck: true });
  assertDataPlace(layout);
  const before = await checkImage(
    { storage, layout },
    {
      ...checkOptions,
      repairs: what === "all",
      onFinding: (finding) => {
        found.set(finding.code, (found.get(finding.code) ?? 0) + 1);
        options.onFinding?.(finding);
      },
    },
  );
  const quiet = { signal: options.signal, memoryBytes: options.memoryBytes, onRepair };
  let done: Done = { fixed: 0, left: [], discarded: [] };
  const isClean = before.corruptions + before.leaks + before.checkErrors === 0;
  if (!isClean || (what === "all" && (await whyItDoesNotOpen(storage)) !== undefined)) {
    const damage = { layout, found, options: { ...quiet, discardSnapshots, discardBitmaps } };
    done = await (what === "leaks" ? repairLeaks(storage, damage) : repairAll(storage, damage));
  }
  let wrongRefcounts = 0;
  const after = await finish(storage, {
    ...quiet,
    onFinding: (finding) => {
      if (WRONG_REFCOUNT_CODES.has(finding.code)) wrongRefcounts++;
      onRemaining?.(finding);
    },
  });
  const { fixed, left, discarded } = done;
  // What the repair itself gave up on the way was no leak before.
  return {
    before,
    after,
    corruptionsFixed:
      fixed + (what === "all" ? Math.max(0, countOf(found, WRONG_REFCOUNT_CODES) - wrongRefcounts) : 0),
    leaksFixed: Math.max(0, before.leaks - after.leaks),
    left,
    discarded,
  };
}

function countOf(
  found: ReadonlyMap<CheckFinding["code"], number>,
  codes: ReadonlySet<CheckFinding["code"]>,
): number {
  let count = 0;
  for (const code of codes) count += found.get(code) ?? 0;
  return count;
}

interface Damage {
  readonly layout: ImageLayout;
  /** How often each code was found. */
  readonly found: ReadonlyMap<CheckFinding["code"], number>;
  readonly options: Pick<
    RepairOptions,
    "signal" | "memoryBytes" | "onRepair" | "discardSnapshots" | "discardBitmaps"
  >;
}

interface Done {
  /** Entries of tables that were put right; refcounts are counted by the checks before and after. */
  readonly fixed: number;
  readonly left: readonly Irreparable[];
  readonly discarded: readonly Irreparable[];
}

async function repairLeaks(storage: Storage, { layout, found, options }: Damage): Promise<Done> {
  const left = await irreparableIn(storage, layout);
  const isRefcountsAlone = !found.has("refcount-block") && !found.has("read-error");
  let fixed = 0;
  if (left.length === 0 && isRefcountsAlone) {
    const file = await RepairFile.open(storage, layout, options.signal);
    if (found.has("leaked-cluster")) {
      await fixRefcounts(file, layout, { ...options, raise: false, lower: true });
    }
    // Flags that contradict refcounts that are right lose nothing either way; with fewer leaks, others may do so.
    const others = [...found.keys()].filter((code) => code !== "leaked-cluster" && code !== "copied-flag");
    if (others.length === 0 && !file.hasOverlaps) {
      fixed = await fixCopiedFlags(file, layout, { ...options, undercounted: new ClusterSet() });
    }
  }
  return { fixed, left, discarded: [] };
}

async function repairAll(storage: Storage, { layout, found, options }: Damage): Promise<Done> {
  await assertL1IsThere(storage, layout);
  const file = await RepairFile.open(storage, layout, options.signal);
  if ((await irreparableIn(storage, layout)).length > 0) file.keepInside();
  const isOnlyRefcounts =
    found.size > 0 && !file.hasOverlaps && [...found.keys()].every((code) => REFCOUNT_CODES.has(code));
  let current = layout;
  let fixed = 0;
  const left: Irreparable[] = [];
  const discarded: Irreparable[] = [];
  const reread = async (): Promise<void> => {
    current = await readImageLayout(storage, { forCheck: true });
    await file.renew(current);
  };
  if (!isOnlyRefcounts) {
    await file.completeLastCluster();
    for (const mended of [
      await mendSnapshots(file, current, options),
      await mendBitmaps(file, current, options),
    ]) {
      fixed += mended.mended;
      left.push(...mended.left);
      discarded.push(...mended.discarded);
    }
    for (const { kind, id, name, reason } of discarded) {
      options.onRepair?.(`Discarding ${[kind, id, name].filter(Boolean).join(" ")}: ${reason}`);
    }
    if (await moveActiveL1(file, current)) fixed++;
    await reread();
    fixed += await mendTables(file, current, options.signal);
    await reread();
  }
  const canLower = left.length === 0;
  // Refcounts that changed because tables did are no news.
  const { onRepair, ...quiet } = options;
  const { complete, ...counted } = await fixRefcounts(file, current, {
    ...(isOnlyRefcounts ? options : quiet),
    raise: true,
    lower: canLower,
  });
  let { undercounted } = counted;
  // Entries of the refcount table can be wrong though no cluster of the file is counted by them.
  const isDone = complete && isOnlyRefcounts;
  const wasWhole = file.wasWhole(current.refcountTable);
  if (!isDone && canLower && (!wasWhole || (await hasWrongRefcounts(storage, current, quiet)))) {
    onRepair?.("Rebuilding refcount structure");
    undercounted = new ClusterSet();
    await rebuildRefcountsIn(file, current, {
      ...quiet,
      accepts: (finding) => {
        noteUndercounted(undercounted, finding, current);
        return true;
      },
    });
    current = await readImageLayout(storage, { forCheck: true });
  } else if (!wasWhole) {
    return { fixed, left, discarded };
  }
  return {
    fixed: fixed + (await fixCopiedFlags(file, current, { ...options, undercounted })),
    left,
    discarded,
  };
}

/** What the guest needs of the table has to be there. @throws Qcow2Error "needs-repair" */
async function assertL1IsThere(
  storage: Storage,
  { l1Table, geometry, virtualSize }: ImageLayout,
): Promise<void> {
  const needed = Math.min(l1Table.length, l1EntriesFor(geometry, virtualSize) * L1_ENTRY_BYTES);
  const isThere = l1Table.offset !== 0 && l1Table.offset + needed <= (await storage.size());
  if (l1Table.length === 0 || isThere) return;
  throw new Qcow2Error(
    "needs-repair",
    "The active L1 table is not in the file: nothing tells where the data is, and repairing would free all of it. " +
      "The image was left as it is",
    { state: "corrupt" },
  );
}

/** Gives the active L1 table a place of its own where it has none; returns whether it had not. */
async function moveActiveL1(file: RepairFile, layout: ImageLayout): Promise<boolean> {
  const { l1Table, geometry, virtualSize } = layout;
  const isWhole = l1Table.offset + l1Table.length <= file.originalSize;
  if (l1Table.length === 0 || (isWhole && file.isAlone("l1-table", l1Table))) return false;
  const { offset, entries } = await copyL1Table(file, l1Table, l1EntriesFor(geometry, virtualSize));
  await file.flush();
  const fields = new Uint8Array(12);
  viewOf(fields).setUint32(0, entries);
  writeUint64(viewOf(fields), 4, offset);
  await file.writeHeader(HEADER_L1_AT, fields);
  await file.flush();
  return true;
}

async function hasWrongRefcounts(
  storage: Storage,
  layout: ImageLayout,
  options: CheckOptions,
): Promise<boolean> {
  let wrong = false;
  const onFinding = ({ code, refcountBlock }: CheckFinding): void => {
    // Narrow refcounts cannot count the second use of a block's cluster; then it is this finding that tells of it.
    wrong ||= code === "leaked-cluster" || WRONG_REFCOUNT_CODES.has(code) || refcountBlock !== undefined;
  };
  await checkImage({ storage, layout }, { ...options, onFinding });
  return wrong;
}

/** Why an image cannot be opened although no finding says so; undefined if it can. @throws Qcow2Error "io" */
async function whyItDoesNotOpen(storage: Storage): Promise<Qcow2Error | undefined> {
  try {
    await openImage({ storage, metadataOnly: true, readOnly: true });
    return undefined;
  } catch (error) {
    if (error instanceof Qcow2Error && error.code !== "io") return error;
    throw error;
  }
}

/** The check of what there is now; an image that cannot be opened is an error that kept it from looking. */
async function checkRepaired(
  storage: Storage,
  layout: ImageLayout,
  options: CheckOptions,
): Promise<CheckResult> {
  const result = await checkImage({ storage, layout }, options);
  if (result.corruptions + result.checkErrors > 0) return result;
  const reason = await whyItDoesNotOpen(storage);
  if (reason === undefined) return result;
  options.onFinding?.({
    severity: "error",
    code: "read-error",
    message: `ERROR The image cannot be opened: ${reason.message}`,
  });
  return { ...result, checkErrors: 1 };
}

/** The check of what there is now; clears the bits that say that something is wrong if nothing is, and unknown ones. */
async function finish(storage: Storage, options: CheckOptions): Promise<CheckResult> {
  const layout = await readImageLayout(storage, { forCheck: true });
  const after = await checkRepaired(storage, layout, options);
  const { incompatibleFeatures, autoclearFeatures } = layout.header;
  const warnings = incompatibleFeatures & (INCOMPATIBLE_DIRTY | INCOMPATIBLE_CORRUPT);
  const unknown = autoclearFeatures & ~knownFeatureMask(FEATURE_TYPE_AUTOCLEAR);
  const isGood = after.corruptions + after.checkErrors === 0;
  if ((!isGood || warnings === 0n) && unknown === 0n) return after;
  const file = await RepairFile.open(storage, layout, options.signal);
  // The bits are a warning until everything that makes them unnecessary is durable.
  if (isGood && warnings !== 0n) await clearBits(file, HEADER_INCOMPATIBLE_FEATURES_AT, warnings);
  // Whoever writes to an image clears what it does not know (specification: "autoclear_features").
  if (unknown !== 0n) await clearBits(file, HEADER_AUTOCLEAR_FEATURES_AT, unknown);
  return after;
}

/** Clears bits of one of the header's feature fields, when everything before it is durable. */
async function clearBits(file: RepairFile, at: number, bits: bigint): Promise<void> {
  const features = new Uint8Array(8);
  await readExactly(file.storage, at, features, "Header");
  viewOf(features).setBigUint64(0, viewOf(features).getBigUint64(0) & ~bits);
  await file.flush();
  await file.writeHeader(at, features);
  await file.flush();
}
