import { describe, expect, it } from "vitest";
import { readSnapshotTable, snapshotInfo, walkSnapshotTable } from "../../src/engine/read-snapshot-table.ts";
import { encodeSnapshotTable, type SnapshotEntry } from "../../src/format/snapshot-table.ts";
import { MemoryStorage } from "../../src/storage/memory-storage.ts";

function snapshots(count: number): SnapshotEntry[] {
  return Array.from({ length: count }, (_, index) => ({
    l1TableOffset: BigInt(index) * 65536n,
    l1Size: index,
    idBytes: new TextEncoder().encode(String(index)),
    nameBytes: new Uint8Array((index * 7919) % 60_000).fill(97),
    dateSeconds: index,
    dateNanoseconds: 0,
    vmClockNanoseconds: 0n,
    vmStateSize: 0n,
    diskSize: 2n ** 30n,
    icount: undefined,
    unknownExtraData: new Uint8Array(index % 1000),
  }));
}

const AT = 65536;

async function storageOf(table: Uint8Array): Promise<MemoryStorage> {
  const storage = new MemoryStorage();
  await storage.write(AT, table);
  return storage;
}

describe("reading the snapshot table", () => {
  it("finds all entries of a table that is read in many pieces, and its length", async () => {
    const entries = snapshots(100);
    const table = encodeSnapshotTable(entries);
    expect(table.length).toBeGreaterThan(1_000_000);
    const found = await readSnapshotTable(await storageOf(table), AT, 100);
    expect(found.byteLength).toBe(table.length);
    // A matcher would take seconds for three million bytes one by one.
    expect(Buffer.compare(encodeSnapshotTable(found.entries), table)).toBe(0);
    expect(found.entries.map(({ l1Size }) => l1Size)).toEqual(entries.map(({ l1Size }) => l1Size));
  });

  it("of no snapshots reads nothing, wherever it is said to be", async () => {
    expect(await readSnapshotTable(new MemoryStorage(), 2n ** 60n, 0)).toEqual({
      entries: [],
      byteLength: 0,
    });
  });

  it("refuses a table that the file ends in, without allocating what the header claims", async () => {
    const storage = await storageOf(encodeSnapshotTable(snapshots(3)));
    for (const count of [4, 65536]) {
      await expect(readSnapshotTable(storage, AT, count)).rejects.toMatchObject({ code: "truncated" });
    }
    await expect(readSnapshotTable(storage, 2 ** 50, 1)).rejects.toMatchObject({ code: "truncated" });
  });

  it("takes what the file does not have for zeroes in a check", async () => {
    const storage = await storageOf(encodeSnapshotTable(snapshots(3)));
    const sizes: number[] = [];
    for await (const { entry } of walkSnapshotTable(storage, AT, 5, "zeroes")) sizes.push(entry.l1Size);
    expect(sizes).toEqual([0, 1, 2, 0, 0]);
  });

  it("refuses too many snapshots, tables beyond 64 MiB, and offsets beyond 2^53", async () => {
    const storage = new MemoryStorage();
    await expect(readSnapshotTable(storage, AT, 65537)).rejects.toMatchObject({ code: "limit-exceeded" });
    await expect(readSnapshotTable(storage, 2n ** 53n, 1)).rejects.toMatchObject({ code: "unsafe-offset" });
    // 1100 entries of the largest name and id: 131,110 bytes each and nothing of them stored but the lengths.
    const fixed = new Uint8Array(40).fill(0xff, 12, 16);
    for (let index = 0; index < 600; index++) await storage.write(AT + index * 131_112, fixed);
    await expect(readSnapshotTable(storage, AT, 600)).rejects.toMatchObject({
      code: "limit-exceeded",
      data: { what: "snapshot table" },
    });
  });
});

describe("snapshotInfo", () => {
  it("cuts names at a NUL, as other programs do, and fills in the disk size of old snapshots", () => {
    const [entry] = snapshots(1);
    const nameBytes = new TextEncoder().encode("näme\0rest");
    expect(snapshotInfo({ ...entry!, nameBytes, diskSize: undefined }, 4711)).toMatchObject({
      id: "0",
      name: "näme",
      diskSize: 4711,
    });
  });
});
