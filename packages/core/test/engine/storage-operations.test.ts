/** What a guest request costs: how many operations of which size reach the image file, before and with a flush. */
import {
  measureStorageCost,
  STORAGE_COST_CASES,
  type StorageCost,
  type StorageCostName,
} from "@qcow2/testing";
import { describe, expect, it } from "vitest";

const KIB = 1024;
const MIB: number = 1024 * KIB;
const CLUSTER: number = 64 * KIB;
/** Four L1 entries: all that an image of 2 GiB has. */
const L1_TABLE = 32;

const NOTHING: StorageCost = { reads: 0, bytesRead: 0, writes: 0, bytesWritten: 0, flushes: 0, holes: 0 };

const cost = (difference: Partial<StorageCost>): StorageCost => ({ ...NOTHING, ...difference });
const reads = (count: number, bytesRead: number): StorageCost => cost({ reads: count, bytesRead });
const writes = (count: number, bytesWritten: number): StorageCost => cost({ writes: count, bytesWritten });

/** A refcount block, a flush, an L2 table, a flush. */
const FLUSHED_ALLOCATION: StorageCost = cost({ writes: 2, bytesWritten: 2 * CLUSTER, flushes: 2 });
/** Nothing of the metadata has changed. */
const FLUSHED_DATA: StorageCost = cost({ flushes: 1 });
/** Two L2 tables, a flush, the refcount block with what is free now, a flush; a flush before all that. */
const FLUSHED_FREEING: StorageCost = cost({
  reads: 1,
  bytesRead: CLUSTER,
  writes: 3,
  bytesWritten: 3 * CLUSTER,
  flushes: 3,
});

/**
 * The first request that takes or gives up a cluster has all refcounts held against all references: the L1 table, the L2
 * tables that there are (they lie together) and the refcount blocks.
 */
const EMPTY_PROOF: StorageCost = reads(2, L1_TABLE + CLUSTER);
const FULL_PROOF: StorageCost = reads(3, L1_TABLE + (4 + 2) * CLUSTER);
const both = (...costs: readonly StorageCost[]): StorageCost =>
  costs.reduce(
    (sum, next) => ({
      reads: sum.reads + next.reads,
      bytesRead: sum.bytesRead + next.bytesRead,
      writes: sum.writes + next.writes,
      bytesWritten: sum.bytesWritten + next.bytesWritten,
      flushes: sum.flushes + next.flushes,
      holes: sum.holes + next.holes,
    }),
    NOTHING,
  );

interface Expected {
  readonly request: StorageCost;
  readonly flush: StorageCost;
  readonly backing?: StorageCost;
}

const EXPECTED: Readonly<Record<StorageCostName, Expected>> = {
  alignedWriteToNewCluster: { request: writes(1, CLUSTER), flush: FLUSHED_ALLOCATION },
  partialWriteToNewCluster: { request: writes(1, CLUSTER), flush: FLUSHED_ALLOCATION },
  partialWriteOverBacking: {
    request: writes(1, CLUSTER),
    flush: FLUSHED_ALLOCATION,
    backing: reads(2, CLUSTER - 4 * KIB),
  },
  writeInPlace: { request: writes(1, 4 * KIB), flush: FLUSHED_DATA },
  sequentialWrite: { request: writes(1, MIB), flush: FLUSHED_ALLOCATION },
  sequentialWriteInPieces: { request: writes(16, MIB), flush: FLUSHED_ALLOCATION },
  firstWrite: {
    // The refcount block.
    request: both(cost({ reads: 1, bytesRead: CLUSTER, writes: 1, bytesWritten: CLUSTER }), EMPTY_PROOF),
    flush: cost({ writes: 3, bytesWritten: 2 * CLUSTER + L1_TABLE, flushes: 3 }),
  },
  readCached: { request: reads(1, 4 * KIB), flush: FLUSHED_DATA },
  readUncached: { request: reads(2, CLUSTER + 4 * KIB), flush: FLUSHED_DATA },
  readContiguous: { request: reads(1, MIB), flush: FLUSHED_DATA },
  zeroEmpty: {
    // Two L2 tables are made: the refcount block is read, and no data is written.
    request: both(reads(1, CLUSTER), EMPTY_PROOF),
    flush: cost({ writes: 4, bytesWritten: 3 * CLUSTER + L1_TABLE, flushes: 3 }),
  },
  zeroAllocated: {
    // The two L2 tables.
    request: both(reads(2, 2 * CLUSTER), FULL_PROOF),
    flush: cost({ writes: 2, bytesWritten: 2 * CLUSTER, flushes: 2 }),
  },
  discardAllocated: { request: both(reads(2, 2 * CLUSTER), FULL_PROOF), flush: FLUSHED_FREEING },
  // The clusters lie in order: one hole.
  discardAndUnmap: {
    request: both(reads(2, 2 * CLUSTER), FULL_PROOF),
    flush: { ...FLUSHED_FREEING, holes: 1 },
  },
};

describe("storage operations", () => {
  it.each(Object.entries(STORAGE_COST_CASES))("%s", async (name, options) => {
    const { request, flush, backing } = EXPECTED[name as StorageCostName];
    expect(await measureStorageCost(options)).toEqual({ request, flush, backing });
  });
});
