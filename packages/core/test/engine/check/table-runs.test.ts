import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { readTableRuns } from "../../../src/engine/check/table-runs.ts";
import { Qcow2Error } from "../../../src/errors.ts";
import { MemoryStorage } from "../../../src/storage/memory-storage.ts";
import type { Storage } from "../../../src/storage/storage.ts";

/** Every sector begins with its own number. */
function numberedStorage(sectors: number): MemoryStorage {
  const bytes = new Uint8Array(sectors * 512);
  for (let sector = 0; sector < sectors; sector++)
    new DataView(bytes.buffer).setUint32(sector * 512, sector + 1);
  return new MemoryStorage({ bytes });
}

async function firstSectors(storage: Storage, offsets: readonly number[]): Promise<(number | string)[]> {
  const found: (number | string)[] = [];
  const runs = readTableRuns({
    storage,
    count: offsets.length,
    offsetAt: (index) => offsets[index]!,
    tableBytes: 1024,
    signal: undefined,
  });
  for await (const { first, end, fileOffset, view, failure } of runs) {
    expect(first).toBe(found.length);
    for (let index = first; index < end; index++) {
      found.push(failure?.code ?? view.getUint32(offsets[index]! - fileOffset));
    }
  }
  return found;
}

describe("reading tables in runs", () => {
  it("gives each table's own bytes, in order, and zeroes beyond the end", async () => {
    const sectors = 4000;
    const storage = numberedStorage(sectors);
    const offset = fc.nat(sectors + 50).map((sector) => sector * 512);
    await fc.assert(
      fc.asyncProperty(fc.array(offset, { maxLength: 60 }), fc.boolean(), async (drawn, sorted) => {
        const offsets = sorted ? drawn.sort((first, second) => first - second) : drawn;
        const expected = offsets.map((value) => (value < sectors * 512 ? value / 512 + 1 : 0));
        expect(await firstSectors(storage, offsets)).toEqual(expected);
      }),
    );
  });

  it("reads neighbours together", async () => {
    const storage = numberedStorage(4000);
    const reads: number[] = [];
    const counting: Storage = Object.create(storage, {
      read: {
        value: (at: number, into: Uint8Array) => {
          reads.push(into.length);
          return storage.read(at, into);
        },
      },
    });
    await firstSectors(counting, [0, 1024, 4096, 1_000_000, 1_001_024]);
    expect(reads).toEqual([5120, 2048]);
  });

  it("hands a failure on with the tables that it concerns, and goes on", async () => {
    const storage = numberedStorage(4000);
    const failing: Storage = Object.create(storage, {
      read: {
        value: async (at: number, into: Uint8Array) => {
          if (at === 500_224) throw new Qcow2Error("io", "bad sector", { operation: "read", name: "disk" });
          return storage.read(at, into);
        },
      },
    });
    expect(await firstSectors(failing, [0, 500_224, 501_248, 1_000_448])).toEqual([1, "io", "io", 1955]);
  });

  it("throws what is no failure of the storage, and leaves nothing under way", async () => {
    const storage = numberedStorage(4000);
    let underWay = 0;
    const failing: Storage = Object.create(storage, {
      read: {
        value: async (at: number, into: Uint8Array) => {
          underWay++;
          await new Promise((resolve) => setTimeout(resolve, 5));
          underWay--;
          if (at === 0) throw new TypeError("bug");
          return storage.read(at, into);
        },
      },
    });
    await expect(firstSectors(failing, [0, 500_224, 1_000_448])).rejects.toThrow(TypeError);
    expect(underWay).toBe(0);
  });
});
