/** Whether something shows where an image defines nothing is asked of the image that is open, not of its header alone. */
import { MemoryStorage, Qcow2Image, RawDisk } from "@qcow2/core";
import { KeptStorage } from "@qcow2/testing";
import { describe, expect, it } from "vitest";

const CLUSTER = 65536;
const SIZE: number = 4 * CLUSTER;

/** An image that names no backing file, with data in its first cluster, opened over a disk of fives. */
async function openOver(version: 2 | 3, longer = 0): Promise<{ image: Qcow2Image; kept: MemoryStorage }> {
  const kept = new MemoryStorage();
  const created = await Qcow2Image.create({ storage: new KeptStorage(kept), size: SIZE, version });
  await created.write({ offset: 0, from: new Uint8Array(CLUSTER).fill(1) });
  await created.close();
  const backing = async (): Promise<RawDisk> =>
    await RawDisk.open({ storage: new MemoryStorage({ bytes: new Uint8Array(SIZE + longer).fill(5) }) });
  return { image: await Qcow2Image.open({ storage: new KeptStorage(kept), backing }), kept };
}

async function bytesAt(image: Qcow2Image, offset: number, length: number): Promise<Set<number>> {
  const into = new Uint8Array(length).fill(0xa5);
  await image.read({ offset, into });
  return new Set(into);
}

describe.each([2, 3] as const)("version %s", (version) => {
  it.each([
    ["writeZeroes", (image: Qcow2Image) => image.writeZeroes({ offset: 0, length: 2 * CLUSTER })],
    [
      "writeZeroes with unmap",
      (image: Qcow2Image) => image.writeZeroes({ offset: 0, length: 2 * CLUSTER, unmap: true }),
    ],
  ])("%s: the range reads as zeroes", async (_name, zero) => {
    const { image } = await openOver(version);
    await zero(image);
    expect(await bytesAt(image, 0, 2 * CLUSTER)).toEqual(new Set([0]));
    expect(await bytesAt(image, 2 * CLUSTER, CLUSTER)).toEqual(new Set([5]));
    await image.close();
  });

  it("discard: never shows the backing disk", async () => {
    const { image } = await openOver(version);
    await image.discard({ offset: 0, length: 2 * CLUSTER });
    const expected = version === 3 ? new Set([0]) : new Set([1]);
    expect(await bytesAt(image, 0, CLUSTER)).toEqual(expected);
    await image.close();
  });

  it.each(["off", "metadata"] as const)(
    "resize with preallocation %s: what is added reads as zeroes",
    async (preallocation) => {
      const { image } = await openOver(version, 2 * CLUSTER);
      await image.resize({ size: SIZE + CLUSTER, preallocation });
      expect(await bytesAt(image, SIZE, CLUSTER)).toEqual(new Set([0]));
      expect(await bytesAt(image, SIZE - CLUSTER, CLUSTER)).toEqual(new Set([5]));
      await image.close();
    },
  );
});

it("the step down to version 2 keeps zeroes that hide the backing disk", async () => {
  const { image } = await openOver(3);
  await image.writeZeroes({ offset: CLUSTER, length: CLUSTER, unmap: true });
  await image.amend({ version: 2 });
  expect(await bytesAt(image, CLUSTER, CLUSTER)).toEqual(new Set([0]));
  await image.close();
});
