/**
 * Repairing a damaged image (specification: "Host cluster management", "Cluster mapping"). Every step leaves the image at
 * least as good as it was, so that a power cut between two of them loses nothing and a second repair goes on from there:
 *
 * 1. tables: entries that lead nowhere, or say what no entry may say, are emptied or put right, one sector at a time;
 *    broken snapshot tables and bitmap directories are replaced by what can be read of them, by one write of the header;
 * 2. refcounts: in place where each is just a wrong number, else new ones behind the end of the file, and one switch;
 * 3. COPIED flags, which depend on the refcounts; then the dirty and corrupt bits, if nothing is wrong any more.
 */
import { Qcow2Error } from "../../errors.ts";
import {
  FEATURE_TYPE_AUTOCLEAR,
  INCOMPATIBLE_CORRUPT,
  INCOMPATIBLE_DIRTY,
  knownFeatureMask,
} from "../../format/feature-bits.ts";
import { HEADER_AUTOCLEAR_FEATURES_AT, HEADER_INCOMPATIBLE_FEATURES_AT } from "../../format/header.ts";
import { viewOf } from "../../format/uint64.ts";
import { readExactly } from "../../storage/read-exactly.ts";
import type { Storage } from "../../storage/storage.ts";
import { checkImage } from "../check/check-image.ts";
import type { CheckFinding, CheckOptions, CheckResult } from "../check-result.ts";
import { type ImageLayout, readImageLayout } from "../image-layout.ts";
import { fixCopiedFlags } from "./fix-copied-flags.ts";
import { fixRefcounts } from "./fix-refcounts.ts";
import { mendBitmaps } from "./mend-bitmaps.ts";
import { mendSnapshots } from "./mend-snapshots.ts";
import { mendTables } from "./mend-tables.ts";
import { rebuildRefcounts } from "./rebuild-refcounts.ts";
import type { RepairOptions, RepairResult } from "./repair-options.ts";

/** Findings for which wrong numbers in refcount blocks are enough of an explanation. */
const REFCOUNT_CODES: ReadonlySet<CheckFinding["code"]> = new Set(["leaked-cluster", "refcount-too-low"]);
/** Findings that are corruptions, and over when all refcounts are right. */
const WRONG_REFCOUNT_CODES: ReadonlySet<CheckFinding["code"]> = new Set([
  "refcount-too-low",
  "refcount-block",
]);

/**
 * Repairs the qcow2 image in `storage`, which nobody else may have open. Guest data that could be read before can be
 * read afterwards; what led nowhere reads as zeroes, or as the backing file. An image without findings is not
 * written to, except for autoclear bits that are not known.
 * @throws Qcow2Error as `checkStorage`; "needs-repair" if the active L1 table is not in the file: nothing is left that
 *   tells where data is, and freeing it would make that final; "read-only", "io"; the signal's reason
 */
export async function repairStorage(storage: Storage, options: RepairOptions): Promise<RepairResult> {
  const { what, onRepair, onRemaining, ...checkOptions } = options;
  const found = new Map<CheckFinding["code"], number>();
  const overlapping = new Set<number>();
  let blocksAreSound = true;
  const layout = await readImageLayout(storage, { forCheck: true });
  const before = await checkImage(
    { storage, layout },
    {
      ...checkOptions,
      repairs: what === "all",
      onFinding: (finding) => {
        found.set(finding.code, (found.get(finding.code) ?? 0) + 1);
        if (finding.overlaps === true && finding.hostOffset !== undefined)
          overlapping.add(finding.hostOffset);
        if (finding.code === "refcount-block" || finding.refcountBlock !== undefined) blocksAreSound = false;
        options.onFinding?.(finding);
      },
    },
  );
  const quiet = { signal: options.signal, memoryBytes: options.memoryBytes, onRepair };
  let corruptionsFixed = 0;
  if (what === "leaks") {
    if (before.leaks > 0 && blocksAreSound) await fixRefcounts(storage, layout, { ...quiet, raise: false });
    // Flags that contradict refcounts that are right lose nothing either way.
    const others = [...found.keys()].filter((code) => code !== "leaked-cluster" && code !== "copied-flag");
    if (found.has("copied-flag") && others.length === 0) {
      corruptionsFixed = await fixCopiedFlags(storage, layout, quiet);
    }
  } else if (before.corruptions + before.leaks + before.checkErrors > 0) {
    corruptionsFixed = await repairAll(storage, {
      layout,
      found,
      overlapping,
      blocksAreSound,
      options: quiet,
    });
  }
  let wrongRefcounts = 0;
  const after = await finish(storage, before, {
    ...quiet,
    onFinding: (finding) => {
      if (WRONG_REFCOUNT_CODES.has(finding.code)) wrongRefcounts++;
      onRemaining?.(finding);
    },
  });
  if (what === "all") corruptionsFixed += Math.max(0, countOf(found, WRONG_REFCOUNT_CODES) - wrongRefcounts);
  // What the repair itself gave up on the way was no leak before.
  return { before, after, corruptionsFixed, leaksFixed: Math.max(0, before.leaks - after.leaks) };
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
  /** Host offsets of clusters that are metadata and something else. */
  readonly overlapping: ReadonlySet<number>;
  /** False if something else may lie where a refcount block is said to be: then no block is written to. */
  readonly blocksAreSound: boolean;
  readonly options: Pick<RepairOptions, "signal" | "memoryBytes" | "onRepair">;
}

/** Returns how many entries of tables were put right; refcounts are counted by the checks before and after. */
async function repairAll(
  storage: Storage,
  { layout, found, overlapping, blocksAreSound, options }: Damage,
): Promise<number> {
  await assertL1IsThere(storage, layout);
  const isOnlyRefcounts =
    overlapping.size === 0 && [...found.keys()].every((code) => REFCOUNT_CODES.has(code));
  let current = layout;
  let fixed = 0;
  if (!isOnlyRefcounts) {
    fixed += await mendSnapshots(storage, current);
    current = await readImageLayout(storage, { forCheck: true });
    fixed += await mendBitmaps(storage, current);
    current = await readImageLayout(storage, { forCheck: true });
    fixed += await mendTables(storage, current, { overlapping, signal: options.signal });
    current = await readImageLayout(storage, { forCheck: true });
  }
  // Refcounts that changed because tables did are no news.
  const { onRepair, ...quiet } = options;
  const inPlace =
    blocksAreSound &&
    (await fixRefcounts(storage, current, { ...(isOnlyRefcounts ? options : quiet), raise: true })).complete;
  if (!inPlace && (await hasWrongRefcounts(storage, current, quiet))) {
    onRepair?.("Rebuilding refcount structure");
    await rebuildRefcounts(storage, current, { ...quiet, accepts: () => true });
    current = await readImageLayout(storage, { forCheck: true });
  }
  return fixed + (await fixCopiedFlags(storage, current, options));
}

/** @throws Qcow2Error "needs-repair" */
async function assertL1IsThere(storage: Storage, { l1Table }: ImageLayout): Promise<void> {
  if (l1Table.offset + l1Table.length <= (await storage.size())) return;
  throw new Qcow2Error(
    "needs-repair",
    "The active L1 table is not in the file: nothing tells where the data is, and repairing would free all of it. " +
      "The image was left as it is",
    { state: "corrupt" },
  );
}

async function hasWrongRefcounts(
  storage: Storage,
  layout: ImageLayout,
  options: CheckOptions,
): Promise<boolean> {
  let wrong = false;
  const onFinding = ({ code }: CheckFinding): void => {
    wrong ||= code === "leaked-cluster" || WRONG_REFCOUNT_CODES.has(code);
  };
  await checkImage({ storage, layout }, { ...options, onFinding });
  return wrong;
}

/** The check of what there is now; clears the bits that say that something is wrong if nothing is, and unknown ones. */
async function finish(storage: Storage, before: CheckResult, options: CheckOptions): Promise<CheckResult> {
  const layout = await readImageLayout(storage, { forCheck: true });
  const wasClean = before.corruptions + before.leaks + before.checkErrors === 0;
  const after = wasClean ? before : await checkImage({ storage, layout }, options);
  const { incompatibleFeatures, autoclearFeatures } = layout.header;
  const warnings = incompatibleFeatures & (INCOMPATIBLE_DIRTY | INCOMPATIBLE_CORRUPT);
  const unknown = autoclearFeatures & ~knownFeatureMask(FEATURE_TYPE_AUTOCLEAR);
  const isGood = after.corruptions + after.checkErrors === 0;
  // The bits are a warning until everything that makes them unnecessary is durable.
  if (isGood && warnings !== 0n) await clearBits(storage, HEADER_INCOMPATIBLE_FEATURES_AT, warnings);
  // Whoever writes to an image clears what it does not know (specification: "autoclear_features").
  if (unknown !== 0n) await clearBits(storage, HEADER_AUTOCLEAR_FEATURES_AT, unknown);
  return after;
}

/** Clears bits of one of the header's feature fields, when everything before it is durable. */
async function clearBits(storage: Storage, at: number, bits: bigint): Promise<void> {
  const features = new Uint8Array(8);
  await readExactly(storage, at, features, "Header");
  viewOf(features).setBigUint64(0, viewOf(features).getBigUint64(0) & ~bits);
  await storage.flush();
  await storage.write(at, features);
  await storage.flush();
}
