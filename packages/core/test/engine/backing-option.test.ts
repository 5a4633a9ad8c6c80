import { type Disk, denyReferences, MemoryStorage, Qcow2Image, RawDisk } from "@qcow2/core";
import { expect, it } from "vitest";

const SIZE = 2 ** 20;

async function rawDisk(byte: number): Promise<RawDisk> {
  const storage = new MemoryStorage();
  await storage.write(0, new Uint8Array(SIZE).fill(byte));
  return await RawDisk.open({ storage });
}

/** An image over a backing file of ones, with a byte 9 at the front; closed. */
async function overlay(backingFile: boolean): Promise<MemoryStorage> {
  const storage = new MemoryStorage();
  const image = await Qcow2Image.create({
    storage,
    size: SIZE,
    backingFile: backingFile ? { name: "base", format: "raw" } : undefined,
    references: { ...denyReferences(), openBackingFile: () => rawDisk(1) },
  });
  await image.write({ offset: 0, from: new Uint8Array([9]) });
  await image.close();
  return new MemoryStorage({ bytes: storage.toBytes() });
}

async function bytesOf(disk: Disk): Promise<readonly (number | undefined)[]> {
  const into = new Uint8Array(SIZE);
  await disk.read({ offset: 0, into });
  return [into[0], into[1], into[SIZE - 1]];
}

it("none: what the overlay does not define reads as zeroes, and nothing is opened", async () => {
  await using image = await Qcow2Image.open({ storage: await overlay(true), backing: "none" });
  // The first cluster was copied when its first byte was written.
  expect(await bytesOf(image)).toEqual([9, 1, 0]);
  expect(image.backing).toBeUndefined();
  expect(image.info().backingFile).toBe("base");
});

it.each([true, false])(
  "another disk shows through, whether the image names one (%s) or not",
  async (named) => {
    const other = await rawDisk(5);
    await using image = await Qcow2Image.open({ storage: await overlay(named), backing: async () => other });
    expect(await bytesOf(image)).toEqual([9, named ? 1 : 0, 5]);
    expect(image.backing).toBe(other);
  },
);

it("is not asked for when only metadata is wanted", async () => {
  const backing = (): Promise<Disk> => expect.fail("it was opened");
  await using image = await Qcow2Image.open({ storage: await overlay(true), metadataOnly: true, backing });
  expect(image.backing).toBeUndefined();
});
