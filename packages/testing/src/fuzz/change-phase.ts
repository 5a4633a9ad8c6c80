/** Changes of a broken image: each is done as it should be, or refused with everything as it was. */
import type { Qcow2Image } from "@qcow2/core";
import { RawDisk } from "@qcow2/core";
import { content } from "../content.ts";
import { CopyingStorage } from "../copying-storage.ts";
import { type FuzzFiles, rangeOf } from "./build-fuzz-image.ts";
import { claimedGrowth } from "./claimed-growth.ts";
import type { FuzzChange } from "./fuzz-case.ts";
import { count, FuzzFind } from "./fuzz-find.ts";
import { guarded } from "./guarded-run.ts";
import {
  type DiskView,
  distinctSnapshots,
  type ImageView,
  lostIn,
  lostInDisk,
  snapshotKey,
  viewOfDisk,
} from "./observe.ts";
import { type FuzzContext, OpenedFiles } from "./opened-files.ts";

export interface ChangesOptions {
  readonly broken: FuzzFiles;
  readonly context: FuzzContext;
  readonly changes: readonly FuzzChange[];
  /** What can be read before. */
  readonly before: ImageView | undefined;
  /**
   * Two entries may lead to one place, or to metadata: whoever writes through one of them changes both, and only a look at
   * all tables would tell.
   */
  readonly mayAlias: boolean;
}

export async function change(options: ChangesOptions): Promise<void> {
  const { broken, context, changes, mayAlias } = options;
  const files = new OpenedFiles(broken, context);
  const { guard } = files;
  const { discard, overlapCheck, metadataOnly } = context.open;
  const claimed = claimedGrowth(broken.image);
  const growth = files.image.content.length + claimed;
  const opened = await guarded("open for writing", { ...guard, growth }, () =>
    files.open({ readOnly: false, discard, overlapCheck, metadataOnly }),
  );
  const expected = options.before && copyOfView(options.before);
  if (opened.error === undefined) {
    const image = opened.result;
    const state: ChangeState = { image, files, expected, context, claimed, isTrusted: true };
    for (const step of changes) {
      await applyChange(state, step);
      if (mayAlias && writesThrough(step)) state.isTrusted = false;
      if (!state.isTrusted) continue;
      await expectActive(state, step.kind, metadataOnly);
    }
    await guarded("close", { ...guard, growth }, () => image.close());
    if (!state.isTrusted) return;
  }
  if (expected === undefined) return;
  const lost = lostIn(expected, await files.view());
  if (lost !== undefined) {
    const what = opened.error === undefined ? changes.map(({ kind }) => kind).join(", ") : "opening it";
    throw new FuzzFind("content", "changes", `${lost}, closed after ${what}`);
  }
  count(context.figures, "contents compared after changes");
}

/** Bytes that a disk grows by. */
const MOST_ADDED_BYTES: number = 4 * 2 ** 20;

/** Changes of guest data, which go where the tables say. */
const WRITES_THROUGH: ReadonlySet<FuzzChange["kind"]> = new Set<FuzzChange["kind"]>([
  "write",
  "compress",
  "stored",
  "zero",
  "unmap",
  "discard",
  "reveal",
]);

/** A disk that grows with its clusters allocated has new entries in the tables that it has: what reads those changes. */
function writesThrough(step: FuzzChange): boolean {
  return WRITES_THROUGH.has(step.kind) || (step.kind === "resize" && step.preallocation !== "off");
}

interface ChangeState {
  readonly image: Qcow2Image;
  readonly files: OpenedFiles;
  readonly expected: ImageView | undefined;
  readonly context: FuzzContext;
  /** Bytes that the file may grow by because of what its refcounts claim. */
  readonly claimed: number;
  /** False once what is read says nothing any more. */
  isTrusted: boolean;
}

async function expectActive(
  { image, files, expected }: ChangeState,
  what: string,
  metadataOnly: boolean,
): Promise<void> {
  if (expected === undefined || metadataOnly) return;
  const lost = lostInDisk(expected.active, await viewOfDisk(image, files.guard));
  if (lost !== undefined) throw new FuzzFind("content", "changes", `${lost} after ${what}`);
}

async function applyChange(state: ChangeState, step: FuzzChange): Promise<void> {
  const { image, files, expected, context, claimed } = state;
  const { clusterSize, backingFile, version } = image.info();
  const sizeBefore = image.size;
  const isCompressed = step.kind === "compress";
  const range =
    "at" in step
      ? rangeOf(sizeBefore, step, clusterSize, isCompressed || step.kind === "stored" ? clusterSize : 1)
      : undefined;
  if (range?.length === 0) return;
  if (step.kind === "stored" && range!.length % clusterSize !== 0) return;
  const from = "content" in step ? content({ ...step, kind: step.content, ...range! }) : undefined;
  const added = step.kind === "resize" ? Math.min(step.by * clusterSize, MOST_ADDED_BYTES) : 0;
  const growth =
    2 * clusterSize + (range?.length ?? 0) + Math.max(0, added) + growthOf(step, files) + claimed;
  const snapshots = distinctSnapshots(image);
  const picked = "pick" in step && snapshots.length > 0 ? snapshots[step.pick % snapshots.length] : undefined;
  const bitmaps = image.info().bitmaps.map(({ name }) => name);
  const { error } = await guarded(
    step.kind,
    { ...files.guard, growth, bytes: range?.length ?? 0 },
    async () => {
      switch (step.kind) {
        case "write":
          return await image.write({ offset: range!.offset, from: from! });
        case "compress":
          return await image.writeCompressed({ offset: range!.offset, from: from! });
        case "stored": {
          const storage = new CopyingStorage({ hostCopies: "all", bytes: from! });
          const isCopied = await image.writeStored({
            offset: range!.offset,
            from: { storage, offset: 0, length: from!.length },
          });
          if (!isCopied) await image.write({ offset: range!.offset, from: from! });
          return;
        }
        case "zero":
        case "unmap":
          return await image.writeZeroes({ ...range!, unmap: step.kind === "unmap" });
        case "discard":
        case "reveal":
          return await image.discard({ ...range!, revealBacking: step.kind === "reveal" });
        case "flush":
          return await image.flush();
        case "check":
          await image.check();
          return;
        case "make-empty":
          return await image.makeEmpty();
        case "create-snapshot":
          await image.createSnapshot({ name: "new", date: new Date(0) });
          return;
        case "apply-snapshot":
          return picked && (await image.applySnapshot(picked));
        case "delete-snapshot":
          return picked && (await image.deleteSnapshot(picked));
        case "resize":
          return await image.resize({
            size: resized(sizeBefore, added),
            shrink: true,
            preallocation: step.preallocation,
          });
        case "amend":
          return await image.amend({ ...step, dropBitmaps: true });
        case "bitmaps": {
          const name =
            step.action === "add"
              ? `n${bitmaps.length}`
              : (bitmaps[step.pick % Math.max(1, bitmaps.length)] ?? "b1");
          const source = bitmaps[(step.pick >> 4) % Math.max(1, bitmaps.length)] ?? "b1";
          return await image.changeBitmaps([
            step.action === "merge" ? { kind: "merge", name, source } : { kind: step.action, name },
          ]);
        }
        case "set-backing": {
          const disk =
            step.to === "none"
              ? undefined
              : await RawDisk.open({ storage: new CopyingStorage({ hostCopies: "all" }), readOnly: true });
          return await image.setBackingFile(disk && { name: "other", format: "raw", disk });
        }
      }
    },
  );
  count(context.figures, error === undefined ? "changes done" : "changes refused");
  if (expected === undefined) return;
  if (range !== undefined) {
    const covered = { offset: range.offset, end: range.offset + range.length };
    if (error !== undefined) forget(expected.active, covered);
    else if (from !== undefined) overwrite(expected.active, range.offset, from);
    else if (step.kind === "reveal") forget(expected.active, covered);
    else if (step.kind === "discard") {
      if (version === 2 && (backingFile !== undefined || image.backing !== undefined)) return;
      const start = Math.ceil(covered.offset / clusterSize) * clusterSize;
      const end =
        covered.end === sizeBefore ? covered.end : Math.floor(covered.end / clusterSize) * clusterSize;
      if (end > start) overwrite(expected.active, start, new Uint8Array(end - start));
    } else overwrite(expected.active, range.offset, new Uint8Array(range.length));
    return;
  }
  if (error !== undefined) return;
  if (step.kind === "make-empty") expected.active.clusters.clear();
  if (step.kind === "set-backing") {
    expected.active.clusters.clear();
    expected.snapshots.clear();
  }
  if (step.kind === "resize") resizeView(expected.active, image.size);
  if (step.kind === "create-snapshot") {
    const created = image.info().snapshots.at(-1);
    if (created !== undefined) expected.snapshots.set(snapshotKey(created), copyOfDisk(expected.active));
    expected.snapshots.delete(JSON.stringify(["", ""]));
  }
  if (picked !== undefined && step.kind === "delete-snapshot") expected.snapshots.delete(snapshotKey(picked));
  if (picked !== undefined && step.kind === "apply-snapshot") {
    const applied = expected.snapshots.get(snapshotKey(picked));
    expected.active.clusters.clear();
    for (const [offset, bytes] of applied?.clusters ?? []) expected.active.clusters.set(offset, bytes);
    if (applied !== undefined) (expected.active as { size: number }).size = applied.size;
  }
}

/** Version 2 has no zero clusters: they become data. */
function growthOf(step: FuzzChange, { image }: OpenedFiles): number {
  return step.kind === "amend" && step.version === 2 ? image.content.length * 4 : 0;
}

function resized(size: number, by: number): number {
  return Math.max(512, Math.floor((size + by) / 512) * 512);
}

function forget(
  { clusters, clusterSize }: DiskView,
  { offset, end }: { readonly offset: number; readonly end: number },
): void {
  for (let at = Math.floor(offset / clusterSize) * clusterSize; at < end; at += clusterSize)
    clusters.delete(at);
}

function overwrite(disk: DiskView, offset: number, from: Uint8Array): void {
  const { clusters, clusterSize, size } = disk;
  const end = offset + from.length;
  for (let at = Math.floor(offset / clusterSize) * clusterSize; at < end; at += clusterSize) {
    const length = Math.min(clusterSize, size - at);
    const isWhole = offset <= at && end >= at + length;
    const bytes = isWhole ? new Uint8Array(length) : clusters.get(at)?.slice();
    // What could not be read cannot be known afterwards.
    if (bytes === undefined) continue;
    const start = Math.max(at, offset);
    bytes.set(from.subarray(start - offset, Math.min(end, at + length) - offset), start - at);
    clusters.set(at, bytes);
  }
}

/** What a smaller disk has lost is forgotten, and what ends within a cluster, too. */
function resizeView(disk: DiskView, size: number): void {
  const { clusters, clusterSize } = disk;
  const smaller = Math.min(size, disk.size);
  for (const offset of [...clusters.keys()]) {
    if (offset + clusterSize > smaller) clusters.delete(offset);
  }
  (disk as { size: number }).size = size;
}

function copyOfView({ active, snapshots }: ImageView): ImageView {
  return {
    active: copyOfDisk(active),
    snapshots: new Map([...snapshots].map(([key, disk]) => [key, copyOfDisk(disk)])),
  };
}

function copyOfDisk({ size, clusterSize, clusters }: DiskView): DiskView {
  return { size, clusterSize, clusters: new Map(clusters) };
}
