/**
 * Writes that are larger than what is joined in memory with its copy-on-write edges (1 MiB), and than one slice of an L2
 * table maps: each part of them has to come out where it belongs.
 */
import { MemoryStorage, Qcow2Image, RawDisk, type References } from "@qcow2/core";
import { describe, expect, it } from "vitest";

const SIZE = 5 * 2 ** 20 + 3 * 512;
const WRITES = [
  { offset: 2 ** 19 + 700, length: 2 ** 20 + 2 ** 18 + 900 },
  { offset: 3 * 2 ** 20 + 1, length: 2 ** 20 + 2 ** 19 },
];

/** Bytes of which no two pieces of a cluster are alike. */
function pattern(length: number, seed: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length);
  for (let index = 0, state = seed; index < length; index++) {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    bytes[index] = 1 + ((state >>> 16) % 255);
  }
  return bytes;
}

async function contentOf(image: Qcow2Image): Promise<Buffer> {
  const bytes = Buffer.alloc(SIZE);
  await image.read({ offset: 0, into: bytes });
  return bytes;
}

const CASES = [
  { name: "clusters of 64 KiB", clusterSize: 65_536 },
  { name: "clusters of 2 MiB", clusterSize: 2 ** 21 },
  { name: "subclusters", clusterSize: 65_536, extendedL2: true },
  // One slice of an L2 table maps 32 KiB.
  { name: "clusters of 512 bytes", clusterSize: 512 },
  { name: "clusters of 512 bytes, one table in memory", clusterSize: 512, l2CacheBytes: 1 },
] as const;

describe.each(CASES)("$name", ({ name: _, ...options }) => {
  it("keeps what lies before and behind a large write, over a backing file and beside a snapshot", async () => {
    const below = pattern(SIZE, 1);
    const references: References = {
      openBackingFile: async () =>
        RawDisk.open({ storage: new MemoryStorage({ bytes: below }), readOnly: true }),
      openDataFile: async () => new MemoryStorage(),
    };
    const { l2CacheBytes, ...shape } = { l2CacheBytes: undefined, ...options };
    const storage = new MemoryStorage();
    const backingFile = { name: "backing", format: "raw" };
    await (await Qcow2Image.create({ storage, size: SIZE, backingFile, references, ...shape })).flush();
    await using image = await Qcow2Image.open({ storage, references, l2CacheBytes });
    const expected = Buffer.from(below);
    const writeAll = async (seed: number): Promise<void> => {
      for (const [index, { offset, length }] of WRITES.entries()) {
        const from = pattern(length, seed + index);
        await image.write({ offset, from });
        expected.set(from, offset);
        // Found by content, not by a matcher: it would print megabytes.
        expect((await contentOf(image)).equals(expected)).toBe(true);
      }
    };
    await writeAll(2);
    await image.createSnapshot({ name: "shared" });
    // New places for all, then in place, across the slices.
    await writeAll(20);
    await writeAll(200);
    expect(await image.check()).toMatchObject({ corruptions: 0, leaks: 0, checkErrors: 0 });
  });
});

it("copies all slices of an L2 table that a snapshot shares", async () => {
  // A table of two slices, each of which maps 4 MiB.
  const [clusterSize, far] = [8192, 5 * 2 ** 20];
  const storage = new MemoryStorage();
  await using image = await Qcow2Image.create({ storage, size: 8 * 2 ** 20, clusterSize });
  await image.write({ offset: 0, from: pattern(clusterSize, 1) });
  await image.write({ offset: far, from: pattern(clusterSize, 2) });
  await image.createSnapshot({ name: "shared" });
  await image.write({ offset: 0, from: pattern(clusterSize, 3) });
  const into = new Uint8Array(clusterSize);
  await image.read({ offset: far, into });
  expect(into).toEqual(pattern(clusterSize, 2));
  expect(await image.check()).toMatchObject({ corruptions: 0, leaks: 0 });
});
