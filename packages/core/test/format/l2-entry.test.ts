import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createGeometry, type Geometry } from "../../src/format/geometry.ts";
import {
  decodeCompressedDescriptor,
  encodeCompressedDescriptor,
  encodeStandardDescriptor,
  hasZeroFlag,
  isCompressed,
  isCopied,
  l2EntryAt,
  standardHasReservedBits,
  standardOffset,
  subclusterState,
} from "../../src/format/l2-entry.ts";

function geometryOf(clusterBits: number, extendedL2 = false): Geometry {
  return createGeometry({ clusterBits, refcountOrder: 4, extendedL2 });
}

/** The two halves of a 64-bit entry with only this bit. */
function halvesOf(bit: number): [high: number, low: number] {
  return bit >= 32 ? [2 ** (bit - 32), 0] : [0, 2 ** bit];
}

describe("standard L2 entries", () => {
  it("assign every bit as the specification does", () => {
    for (let bit = 0; bit < 64; bit++) {
      const [high, low] = halvesOf(bit);
      expect(isCopied(high)).toBe(bit === 63);
      expect(isCompressed(high)).toBe(bit === 62);
      expect(hasZeroFlag(low)).toBe(bit === 0);
      expect(standardOffset(high, low)).toBe(bit >= 9 && bit <= 55 ? 2 ** bit : 0);
      const isReserved = (bit >= 1 && bit <= 8) || (bit >= 56 && bit <= 61);
      expect(standardHasReservedBits(high, low, false)).toBe(isReserved);
      expect(standardHasReservedBits(high, low, true)).toBe(isReserved || bit === 0);
    }
  });

  it("read back as they were encoded", () => {
    fc.assert(
      fc.property(
        fc.nat(2 ** 31 - 1),
        fc.nat(2 ** 13 - 1),
        fc.boolean(),
        fc.boolean(),
        (low, high, copied, zero) => {
          const offset = (high * 2 ** 31 + low) * 512;
          const entry = encodeStandardDescriptor({ offset, copied, zero });
          expect(standardOffset(entry.high, entry.low)).toBe(offset);
          expect(isCopied(entry.high)).toBe(copied);
          expect(hasZeroFlag(entry.low)).toBe(zero);
          expect(isCompressed(entry.high)).toBe(false);
        },
      ),
    );
  });

  it("take 8 bytes, or 16 with subclusters", () => {
    expect(l2EntryAt(geometryOf(16), 3)).toBe(24);
    expect(l2EntryAt(geometryOf(16, true), 3)).toBe(48);
  });
});

describe("compressed cluster descriptors", () => {
  // x = 62 - (cluster_bits - 8): bits 0 .. x-1 are the offset, x .. 61 the additional sectors.
  it("with 512-byte clusters have 61 bits of offset and one of length", () => {
    const geometry = geometryOf(9);
    // x = 61.
    expect(decodeCompressedDescriptor(geometry, 0x40000000, 0x00000203)).toEqual({
      offset: 0x203,
      length: 509,
    });
    expect(decodeCompressedDescriptor(geometry, 0x60000000, 0x00000203)).toEqual({
      offset: 0x203,
      length: 1021,
    });
    expect(decodeCompressedDescriptor(geometry, 0x40100000, 0)).toEqual({ offset: 2 ** 52, length: 512 });
    expect(encodeCompressedDescriptor(geometry, 0x3ff, 2)).toEqual({ high: 0x60000000, low: 0x3ff });
  });

  it("with 64 KiB clusters have 54 bits of offset and eight of length", () => {
    const geometry = geometryOf(16);
    // x = 54: bit 22 of the high half is the lowest bit of the sector count.
    expect(decodeCompressedDescriptor(geometry, 0x40400000, 0x00050001)).toEqual({
      offset: 0x50001,
      length: 1023,
    });
    expect(encodeCompressedDescriptor(geometry, 0x50001, 1023)).toEqual({ high: 0x40400000, low: 0x50001 });
    expect(encodeCompressedDescriptor(geometry, 0x50001, 1024)).toEqual({ high: 0x40800000, low: 0x50001 });
  });

  it("with 2 MiB clusters have 49 bits of offset and thirteen of length", () => {
    const geometry = geometryOf(21);
    // x = 49: bit 17 of the high half.
    expect(decodeCompressedDescriptor(geometry, 0x7fffffff, 0xffffffff)).toEqual({
      offset: 2 ** 49 - 1,
      length: 8192 * 512 - 511,
    });
    expect(encodeCompressedDescriptor(geometry, 2 ** 48 + 512, 512)).toEqual({
      high: 0x40010000,
      low: 0x200,
    });
    expect(decodeCompressedDescriptor(geometry, 0x40020000, 0x200)).toEqual({ offset: 0x200, length: 1024 });
  });

  it("cover exactly the sectors that the data touches", () => {
    const arbitrary = fc.integer({ min: 9, max: 21 }).chain((clusterBits) =>
      fc.record({
        clusterBits: fc.constant(clusterBits),
        // The data, and the sector that it ends in, lie where a number is exact to the byte.
        offset: fc.nat({ max: Math.min(2 ** 53 - 2 ** 22, 2 ** (62 - (clusterBits - 8)) - 1) }),
        length: fc.integer({ min: 1, max: 2 ** clusterBits }),
      }),
    );
    fc.assert(
      fc.property(arbitrary, ({ clusterBits, offset, length }) => {
        const geometry = geometryOf(clusterBits);
        const { high, low } = encodeCompressedDescriptor(geometry, offset, length);
        expect(isCompressed(high)).toBe(true);
        expect(isCopied(high)).toBe(false);
        const decoded = decodeCompressedDescriptor(geometry, high, low);
        expect(decoded.offset).toBe(offset);
        expect((decoded.offset + decoded.length) % 512).toBe(0);
        expect(decoded.length).toBeGreaterThanOrEqual(length);
        expect(decoded.length - length).toBeLessThan(512);
      }),
    );
  });

  it("reach across as many host clusters as the data does", () => {
    const geometry = geometryOf(9);
    const { high, low } = encodeCompressedDescriptor(geometry, 511, 512);
    const { offset, length } = decodeCompressedDescriptor(geometry, high, low);
    expect([Math.floor(offset / 512), Math.floor((offset + length - 1) / 512)]).toEqual([0, 1]);
  });
});

describe("subclusters", () => {
  it("are told apart by one bit in each half of the bitmap", () => {
    const allocated = 0x80000001 | 0;
    const zero = 0x80000002 | 0;
    expect(subclusterState(allocated, zero, 0)).toBe("allocated");
    expect(subclusterState(allocated, zero, 1)).toBe("zero");
    expect(subclusterState(allocated, zero, 2)).toBe("unallocated");
    expect(subclusterState(allocated, zero, 31)).toBe("invalid");
  });
});
