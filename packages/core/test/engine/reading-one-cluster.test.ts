/** Reads whose table is in memory, which take a shorter way if one cluster holds all that they ask for. */
import { MemoryStorage, Qcow2Image, RawDisk, type References } from "@qcow2/core";
import { describe, expect, it } from "vitest";

const CLUSTER = 16384;
const SECTOR = 512;

/** Into a buffer that is not empty, as callers' buffers are not. */
async function readInto(image: Qcow2Image, offset: number, length: number): Promise<Uint8Array> {
  const into = new Uint8Array(length).fill(0xee);
  await image.read({ offset, into });
  return into;
}

const bytes = (length: number, value: number): Uint8Array => new Uint8Array(length).fill(value);

async function createImage(options: { extendedL2?: boolean; storage?: MemoryStorage }): Promise<Qcow2Image> {
  const { extendedL2, storage = new MemoryStorage() } = options;
  return Qcow2Image.create({ storage, size: 16 * CLUSTER, clusterSize: CLUSTER, extendedL2 });
}

describe.each([{ extendedL2: false }, { extendedL2: true }])("with %j", (options) => {
  it("reads any part of a cluster, and of two whose host clusters do not follow each other", async () => {
    await using image = await createImage(options);
    await image.write({ offset: CLUSTER, from: bytes(CLUSTER, 2) });
    await image.write({ offset: 0, from: bytes(CLUSTER, 1) });
    expect(await readInto(image, 5, CLUSTER - 5)).toEqual(bytes(CLUSTER - 5, 1));
    expect(await readInto(image, CLUSTER + 5, 7)).toEqual(bytes(7, 2));
    const both = await readInto(image, CLUSTER - 3, 6);
    expect(both).toEqual(Uint8Array.of(1, 1, 1, 2, 2, 2));
  });

  it("reads zeroes from a cluster that keeps its host cluster", async () => {
    await using image = await createImage(options);
    await image.write({ offset: 0, from: bytes(2 * CLUSTER, 1) });
    await image.writeZeroes({ offset: 0, length: CLUSTER, unmap: false });
    expect(await readInto(image, 0, SECTOR)).toEqual(bytes(SECTOR, 0));
    expect(await readInto(image, CLUSTER, SECTOR)).toEqual(bytes(SECTOR, 1));
  });

  it("reads zeroes where no cluster is, beside one", async () => {
    await using image = await createImage(options);
    await image.write({ offset: 0, from: bytes(CLUSTER, 1) });
    expect(await readInto(image, CLUSTER, SECTOR)).toEqual(bytes(SECTOR, 0));
  });

  it("reads zeroes beyond the end of a file that was cut off within a cluster", async () => {
    const storage = new MemoryStorage();
    await using image = await createImage({ ...options, storage });
    await image.write({ offset: 0, from: bytes(CLUSTER, 1) });
    await image.flush();
    for await (const { hostOffset } of image.map({ offset: 0, length: CLUSTER })) {
      await storage.truncate((hostOffset as number) + SECTOR);
    }
    const expected = bytes(CLUSTER, 0).fill(1, 0, SECTOR);
    expect(await readInto(image, 0, CLUSTER)).toEqual(expected);
  });
});

it("reads each subcluster as it is", async () => {
  await using image = await createImage({ extendedL2: true });
  await image.write({ offset: 2 * SECTOR, from: bytes(SECTOR, 3) });
  await image.write({ offset: CLUSTER, from: bytes(CLUSTER, 4) });
  await image.writeZeroes({ offset: CLUSTER + SECTOR, length: SECTOR });
  expect(await readInto(image, 0, 4 * SECTOR)).toEqual(bytes(4 * SECTOR, 0).fill(3, 2 * SECTOR, 3 * SECTOR));
  expect(await readInto(image, CLUSTER, 3 * SECTOR)).toEqual(
    bytes(3 * SECTOR, 4).fill(0, SECTOR, 2 * SECTOR),
  );
});

it("reads the backing file through subclusters that hold nothing, behind one that does", async () => {
  const references: References = {
    openBackingFile: async () => RawDisk.open({ storage: new MemoryStorage({ bytes: bytes(CLUSTER, 5) }) }),
    openDataFile: async () => new MemoryStorage(),
  };
  await using image = await Qcow2Image.create({
    storage: new MemoryStorage(),
    size: CLUSTER,
    clusterSize: CLUSTER,
    extendedL2: true,
    backingFile: { name: "backing", format: "raw" },
    references,
  });
  await image.write({ offset: 0, from: bytes(SECTOR, 3) });
  expect(await readInto(image, SECTOR, SECTOR)).toEqual(bytes(SECTOR, 5));
  expect(await readInto(image, 0, 3 * SECTOR)).toEqual(bytes(3 * SECTOR, 5).fill(3, 0, SECTOR));
});
