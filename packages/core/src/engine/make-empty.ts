/** Emptying an image: the active disk defines nothing any more. */
import { Qcow2Error } from "../errors.ts";
import { isDataFileRaw, type OpenImage } from "./open-image.ts";
import { dropTree } from "./snapshots/snapshot-tree.ts";
import {
  type GiveBack,
  type HeaderChange,
  MetadataTransaction,
  type TransactionOptions,
} from "./transaction/metadata-transaction.ts";
import type { WriteContext } from "./write-context.ts";

/**
 * Gives up all L2 tables and data of the active disk. What they occupied goes back to the host once it is free.
 * @throws Qcow2Error "unsupported" with a raw external data file, and what {@link MetadataTransaction.run} throws
 */
export async function makeEmpty(context: WriteContext, options: TransactionOptions = {}): Promise<GiveBack> {
  const { image } = context;
  if (isDataFileRaw(image.layout)) {
    throw new Qcow2Error("unsupported", "An image whose external data file is raw cannot be emptied", {
      operation: "make empty",
    });
  }
  if (image.metadataOnly && image.layout.hasDataFile) {
    throw new Qcow2Error("unsupported", "Emptying needs the external data file, which was not opened", {
      operation: "make empty",
    });
  }
  if (isEmpty(image)) return async () => undefined;
  const giveBack = await MetadataTransaction.run(
    context,
    async (transaction): Promise<HeaderChange> => {
      await dropTree(transaction, image.mapping.l1.bytes);
      return await replaceL1(transaction, new Uint8Array(image.mapping.l1.bytes.length));
    },
    { ...options, givesBack: true },
  );
  return async () => {
    await giveBack();
    if (image.layout.hasDataFile) await emptyDataFile(image);
  };
}

/**
 * True if the few tables of an image without data are spread over its file, as they are once it was emptied: new tables
 * never take the place of old ones.
 */
export function isScattered(image: OpenImage): boolean {
  const { snapshots, layout, mapping, refcounts } = image;
  if (snapshots.length > 0 || layout.bitmaps !== undefined || !isEmpty(image)) return false;
  const { clusterSize } = layout.geometry;
  const { l1 } = mapping;
  const { table } = refcounts;
  let clusters = 1 + Math.ceil(l1.bytes.length / clusterSize) + table.bytes.length / clusterSize;
  let end = Math.max(l1.offset + l1.bytes.length, table.offset + table.bytes.length);
  for (let block = 0; block < table.entries; block++) {
    const offset = refcounts.blockOffset(block);
    if (offset === 0) continue;
    clusters++;
    end = Math.max(end, offset + clusterSize);
  }
  // What is moved needs as much room again at first.
  return Math.ceil(end / clusterSize) > 2 * clusters;
}

/** Moves the tables of an image without data to the start of its file, so that the file can end behind them. */
export async function gatherTables(context: WriteContext): Promise<GiveBack> {
  const { image } = context;
  return await MetadataTransaction.run(
    context,
    (transaction) => replaceL1(transaction, image.mapping.l1.bytes),
    { rewriteRefcounts: true, givesBack: true },
  );
}

function isEmpty({ mapping }: OpenImage): boolean {
  return mapping.l1.bytes.every((byte) => byte === 0);
}

async function replaceL1(transaction: MetadataTransaction, l1: Uint8Array): Promise<HeaderChange> {
  const { offset, bytes } = transaction.image.mapping.l1;
  await transaction.dropTable({ offset, length: bytes.length });
  return { l1Table: { offset: await transaction.addTable(l1), length: l1.length } };
}

/** Nothing depends on it, so that a failure is none. */
async function emptyDataFile({ dataStorage }: OpenImage): Promise<void> {
  try {
    await dataStorage.punchHole?.(0, await dataStorage.size());
  } catch {
    // The space stays with the file.
  }
}
