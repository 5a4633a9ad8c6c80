/** Writes a new, empty image: tables first, the header last, so that what is incomplete never looks like an image. */
import { refuseOption } from "../errors.ts";
import {
  AUTOCLEAR_DATA_FILE_RAW,
  COMPATIBLE_LAZY_REFCOUNTS,
  INCOMPATIBLE_COMPRESSION_TYPE,
  INCOMPATIBLE_DATA_FILE,
  INCOMPATIBLE_EXTENDED_L2,
} from "../format/feature-bits.ts";
import {
  EXTENSION_BACKING_FORMAT,
  EXTENSION_DATA_FILE,
  type HeaderExtension,
} from "../format/header-extensions.ts";
import { L1_ENTRY_BYTES, setL1Entry } from "../format/l1-entry.ts";
import { refcountCodec, setRefcountTableEntry } from "../format/refcount-entry.ts";
import { encodeText } from "../format/stored-text.ts";
import { viewOf } from "../format/uint64.ts";
import type { Storage } from "../storage/storage.ts";
import { writeZeroBytes } from "../storage/write-zeroes.ts";
import type { CreateOptions } from "./create-options.ts";
import { encodeFirstCluster, type FirstCluster, type HeaderFields } from "./header/first-cluster.ts";
import { type CheckedImageOptions, checkImageOptions, type ImagePlan, planImage } from "./image-plan.ts";
import { writeStandardEntry } from "./l2-editing.ts";

/**
 * Throws what {@link createImage} would throw before it touches anything.
 * @throws Qcow2Error "invalid-option"
 */
export function assertCreateOptions(options: CreateOptions): void {
  if (options.dataFile?.storage === options.storage) {
    refuseOption("data_file", "An image cannot be its own data file");
  }
  planCreation(options);
}

/** Everything that is wrong with the options is found before the storage is touched. */
export async function createImage(options: CreateOptions): Promise<void> {
  const { checked, plan, header } = planCreation(options);
  const { storage } = options;
  const { clusterSize } = checked.geometry;
  const keepsContent = await dropContent(storage);
  await storage.truncate(fileBytesOf(plan, clusterSize));
  // A block device keeps what it held: nothing there may be taken for a header, or for part of a table.
  await storage.write(0, new Uint8Array(clusterSize));
  await writeRefcounts(storage, checked, plan);
  await writeTables(storage, checked, plan, options.dataFile !== undefined);
  await reserveData(options, checked, plan, keepsContent);
  await storage.write(0, header);
}

/**
 * Only where there is content: file systems (ext4, XFS) take a file that was cut off for one that is being replaced in
 * place, and write out all of it when it is closed. True for what keeps its content and its size, as a block device does.
 */
async function dropContent(storage: Storage): Promise<boolean> {
  if ((await storage.size()) === 0) return false;
  await storage.truncate(0);
  return (await storage.size()) > 0;
}

function planCreation(options: CreateOptions): {
  readonly checked: CheckedImageOptions;
  readonly plan: ImagePlan;
  readonly header: Uint8Array;
} {
  const checked = checkImageOptions({
    ...options,
    hasBackingFile: options.backingFile !== undefined,
    hasDataFile: options.dataFile !== undefined,
    dataFileRaw: options.dataFile?.raw,
  });
  const plan = planImage(checked, options.size, options.dataFile !== undefined);
  return {
    checked,
    plan,
    header: encodeFirstCluster(firstClusterOf(options, checked, plan), checked.geometry.clusterSize),
  };
}

/** An L1 table at the end is written as far as it has entries, as QEMU does; the rest of its cluster is not there yet. */
function fileBytesOf({ l1Table, l1Entries, totalClusters }: ImagePlan, clusterSize: number): number {
  const endsWithL1 = l1Table.count > 0 && l1Table.first + l1Table.count === totalClusters;
  return endsWithL1 ? l1Table.first * clusterSize + l1Entries * L1_ENTRY_BYTES : totalClusters * clusterSize;
}

/** Header, extensions and backing file name. */
function firstClusterOf(options: CreateOptions, checked: CheckedImageOptions, plan: ImagePlan): FirstCluster {
  const extensions: HeaderExtension[] = [];
  const backingFormat = options.backingFile?.format;
  if (backingFormat !== undefined) {
    extensions.push({ type: EXTENSION_BACKING_FORMAT, data: encodeText(backingFormat) });
  }
  if (options.dataFile !== undefined) {
    extensions.push({ type: EXTENSION_DATA_FILE, data: encodeText(options.dataFile.name) });
  }
  return {
    header: headerOf(options, checked, plan),
    extensions,
    backingName: encodeText(options.backingFile?.name ?? ""),
  };
}

function headerOf(options: CreateOptions, checked: CheckedImageOptions, plan: ImagePlan): HeaderFields {
  const { geometry } = checked;
  let incompatibleFeatures = 0n;
  if (options.dataFile !== undefined) incompatibleFeatures |= INCOMPATIBLE_DATA_FILE;
  if (geometry.extendedL2) incompatibleFeatures |= INCOMPATIBLE_EXTENDED_L2;
  if (checked.compressionType !== "zlib") incompatibleFeatures |= INCOMPATIBLE_COMPRESSION_TYPE;
  return {
    version: checked.version,
    clusterBits: geometry.clusterBits,
    size: BigInt(plan.size),
    cryptMethod: 0,
    l1Size: plan.l1Entries,
    l1TableOffset: BigInt(plan.l1Table.count === 0 ? 0 : plan.l1Table.first * geometry.clusterSize),
    refcountTableOffset: BigInt(plan.refcountTable.first * geometry.clusterSize),
    refcountTableClusters: plan.refcountTable.count,
    snapshotCount: 0,
    snapshotsOffset: 0n,
    incompatibleFeatures,
    compatibleFeatures: checked.lazyRefcounts ? COMPATIBLE_LAZY_REFCOUNTS : 0n,
    autoclearFeatures: options.dataFile?.raw === true ? AUTOCLEAR_DATA_FILE_RAW : 0n,
    refcountOrder: Math.log2(geometry.refcountBits),
    compressionType: checked.compressionType === "zstd" ? 1 : 0,
    unknownFields: new Uint8Array(0),
  };
}

/** Every cluster of the plan has one reference. */
async function writeRefcounts(
  storage: Storage,
  checked: CheckedImageOptions,
  plan: ImagePlan,
): Promise<void> {
  const { clusterSize, refcountBits, refcountsPerBlock } = checked.geometry;
  const codec = refcountCodec(Math.log2(refcountBits));
  const table = new Uint8Array(plan.refcountTable.count * clusterSize);
  const block = new Uint8Array(clusterSize);
  const view = viewOf(block);
  for (let index = 0; index < refcountsPerBlock; index++) codec.set(view, index, 1);
  for (let index = 0; index < plan.refcountBlocks.count; index++) {
    const counted = plan.totalClusters - index * refcountsPerBlock;
    for (let free = Math.max(0, counted); free < refcountsPerBlock; free++) codec.set(view, free, 0);
    const offset = (plan.refcountBlocks.first + index) * clusterSize;
    setRefcountTableEntry(viewOf(table), index, offset);
    await storage.write(offset, block);
  }
  await storage.write(plan.refcountTable.first * clusterSize, table);
}

/** The L1 table: empty, or with L2 tables in which every guest cluster has its host cluster, in guest order. */
async function writeTables(
  storage: Storage,
  checked: CheckedImageOptions,
  plan: ImagePlan,
  hasDataFile: boolean,
): Promise<void> {
  const { geometry } = checked;
  const { clusterSize, l2Entries, l2EntryBytes } = geometry;
  const guestClusters = Math.ceil(plan.size / clusterSize);
  const firstData = hasDataFile ? 0 : plan.data.first;
  const l1 = new Uint8Array(plan.l1Entries * L1_ENTRY_BYTES);
  for (let table = 0; table < plan.l2Tables.count; table++) {
    const l2 = new Uint8Array(clusterSize);
    const count = Math.min(l2Entries, guestClusters - table * l2Entries);
    for (let index = 0; index < count; index++) {
      const hostOffset = (firstData + table * l2Entries + index) * clusterSize;
      // With extended L2 the cluster is there, but none of its subclusters is defined yet.
      const allocBits = geometry.extendedL2 ? 0 : 1;
      writeStandardEntry(geometry, viewOf(l2), index * l2EntryBytes, {
        hostOffset,
        copied: true,
        allocBits,
        zeroBits: 0,
      });
    }
    const offset = (plan.l2Tables.first + table) * clusterSize;
    setL1Entry(viewOf(l1), table, { offset, copied: true });
    await storage.write(offset, l2);
  }
  await storage.write(plan.l1Table.first * clusterSize, l1);
}

async function reserveData(
  options: CreateOptions,
  checked: CheckedImageOptions,
  plan: ImagePlan,
  imageKeepsContent: boolean,
): Promise<void> {
  const { dataFile } = options;
  let keepsContent = imageKeepsContent;
  if (dataFile !== undefined) {
    // What a reused data file holds belongs to another image.
    keepsContent = await dropContent(dataFile.storage);
    await dataFile.storage.truncate(plan.size);
  }
  // Nobody sees what lies in clusters that are not in the tables; but a raw data file is read without them, too.
  if (checked.preallocation === "off" && dataFile?.raw !== true) return;
  const { clusterSize } = checked.geometry;
  const storage = dataFile?.storage ?? options.storage;
  const offset = dataFile === undefined ? plan.data.first * clusterSize : 0;
  const length = dataFile === undefined ? plan.data.count * clusterSize : plan.size;
  const how = checked.preallocation;
  if (keepsContent && how !== "full") await zeroOldContent(storage, offset, length);
  else if (how === "falloc" || how === "full") await reserve(storage, offset, length, how);
}

/** What a device held before would be the disk's content. */
async function zeroOldContent(storage: Storage, offset: number, length: number): Promise<void> {
  if (length === 0) return;
  if (storage.punchHole !== undefined) await storage.punchHole(offset, length);
  else await writeZeroBytes(storage, offset, length);
}

async function reserve(
  storage: Storage,
  offset: number,
  length: number,
  how: "falloc" | "full",
): Promise<void> {
  if (length === 0) return;
  if (how === "falloc" && storage.allocate !== undefined) {
    await storage.allocate(offset, length);
    return;
  }
  await writeZeroBytes(storage, offset, length);
}
