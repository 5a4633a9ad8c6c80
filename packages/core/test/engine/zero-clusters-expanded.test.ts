/** Zero clusters become clusters of zeroes where an image is made one of version 2, which has no other way to say it. */
import { MemoryStorage, Qcow2Image, RawDisk, type References } from "@qcow2/core";
import { expect, it } from "vitest";

const CLUSTER = 4096;
const SIZE = 64 * CLUSTER;

it("expands a table that the disk shares with a snapshot once, for both", async () => {
  const storage = new MemoryStorage();
  const references: References = {
    openBackingFile: async () =>
      await RawDisk.open({ storage: new MemoryStorage({ bytes: new Uint8Array(SIZE).fill(1) }) }),
    openDataFile: () => expect.fail("there is none"),
  };
  await using image = await Qcow2Image.create({
    storage,
    size: SIZE,
    clusterSize: CLUSTER,
    backingFile: { name: "backing", format: "raw" },
    references,
  });
  await image.writeZeroes({ offset: 0, length: SIZE / 2 });
  await image.createSnapshot({ name: "zeroes" });
  const before = await storage.size();
  await image.amend({ version: 2 });
  // One new table, and the clusters that it refers to; some are for the refcounts and the tables of the header.
  expect(await storage.size()).toBeLessThan(before + 1.5 * (SIZE / 2));
  expect(await image.check()).toMatchObject({ corruptions: 0, leaks: 0, checkErrors: 0 });
  await image.write({ offset: 0, from: new Uint8Array(CLUSTER).fill(2) });
  await image.applySnapshot({ name: "zeroes" });
  const into = new Uint8Array(SIZE).fill(9);
  await image.read({ offset: 0, into });
  expect(into.subarray(0, SIZE / 2).every((byte) => byte === 0)).toBe(true);
  expect(into.subarray(SIZE / 2).every((byte) => byte === 1)).toBe(true);
});
