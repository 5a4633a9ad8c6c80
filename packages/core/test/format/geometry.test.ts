import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  createGeometry,
  guestClusterOf,
  hostClusterOf,
  l1EntriesFor,
  offsetOfHostCluster,
  roundDown,
  roundUp,
} from "../../src/format/geometry.ts";

const geometry64k = createGeometry({ clusterBits: 16, refcountOrder: 4, extendedL2: false });

describe("geometry", () => {
  it("of default images", () => {
    expect(geometry64k).toEqual({
      clusterBits: 16,
      clusterSize: 65536,
      extendedL2: false,
      l2EntryBytes: 8,
      l2Entries: 8192,
      l2Coverage: 512 * 2 ** 20,
      subclusterSize: 65536,
      refcountBits: 16,
      refcountsPerBlock: 32768,
    });
  });

  it("of extended L2 entries: twice as long, with 32 subclusters", () => {
    const geometry = createGeometry({ clusterBits: 14, refcountOrder: 0, extendedL2: true });
    expect(geometry).toMatchObject({
      l2EntryBytes: 16,
      l2Entries: 1024,
      l2Coverage: 1024 * 16384,
      subclusterSize: 512,
      refcountBits: 1,
      refcountsPerBlock: 16384 * 8,
    });
  });

  it("of the extremes", () => {
    expect(createGeometry({ clusterBits: 9, refcountOrder: 6, extendedL2: false })).toMatchObject({
      l2Entries: 64,
      l2Coverage: 32768,
      refcountsPerBlock: 64,
    });
    expect(createGeometry({ clusterBits: 21, refcountOrder: 0, extendedL2: false })).toMatchObject({
      l2Entries: 262144,
      l2Coverage: 512 * 2 ** 30,
      refcountsPerBlock: 2 ** 24,
    });
  });

  it("counts the L1 entries that a disk needs", () => {
    expect(l1EntriesFor(geometry64k, 0)).toBe(0);
    expect(l1EntriesFor(geometry64k, 1)).toBe(1);
    expect(l1EntriesFor(geometry64k, 512 * 2 ** 20)).toBe(1);
    expect(l1EntriesFor(geometry64k, 512 * 2 ** 20 + 1)).toBe(2);
    expect(l1EntriesFor(geometry64k, 2 ** 40)).toBe(2048);
  });

  it("turns offsets into clusters beyond 32 bits", () => {
    expect(guestClusterOf(geometry64k, 2 ** 40 + 65535)).toBe(2 ** 24);
    expect(hostClusterOf(geometry64k, Number.MAX_SAFE_INTEGER)).toBe(2 ** 37 - 1);
    expect(offsetOfHostCluster(geometry64k, hostClusterOf(geometry64k, 2 ** 50 + 1))).toBe(2 ** 50);
  });

  it("rounds to multiples", () => {
    fc.assert(
      fc.property(fc.nat(2 ** 40), fc.constantFrom(1, 512, 4096, 2 ** 21), (value, multiple) => {
        expect(roundUp(value, multiple) - value).toBeLessThan(multiple);
        expect(value - roundDown(value, multiple)).toBeLessThan(multiple);
        expect(roundUp(value, multiple) % multiple).toBe(0);
        expect(roundDown(value, multiple) % multiple).toBe(0);
      }),
    );
  });
});
