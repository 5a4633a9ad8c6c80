/** What persistent bitmaps say after the disk, or they themselves, were changed. */
import { MemoryStorage, Qcow2Image } from "@qcow2/core";
import { KeptStorage } from "@qcow2/testing";
import { expect, it } from "vitest";

const CLUSTER = 512;
const SIZE = 2 ** 20;

interface Range {
  readonly start: number;
  readonly end: number;
}

async function newImage(storage: MemoryStorage = new MemoryStorage()): Promise<Qcow2Image> {
  return await Qcow2Image.create({ storage: new KeptStorage(storage), size: SIZE, clusterSize: CLUSTER });
}

/** Neighbours joined. */
async function dirtyIn(image: Qcow2Image, name: string): Promise<Range[]> {
  const joined: Range[] = [];
  const dirty = await image.dirtyRanges(name);
  for await (const { start, end } of dirty.ranges({ start: 0, end: dirty.size })) {
    const last = joined.at(-1);
    if (last?.end === start) joined[joined.length - 1] = { start: last.start, end };
    else joined.push({ start, end });
  }
  return joined;
}

it("tells of changes of every kind: in new places, in place, to zeroes, to nothing", async () => {
  const storage = new MemoryStorage();
  const image = await newImage(storage);
  await image.write({ offset: 0, from: new Uint8Array(SIZE / 2).fill(1) });
  await image.changeBitmaps([{ kind: "add", name: "all", granularity: 512 }]);
  // The second, by the shortest way there is: its table is in memory.
  await image.write({ offset: 100 * CLUSTER, from: new Uint8Array(CLUSTER).fill(2) });
  await image.write({ offset: 110 * CLUSTER + 17, from: new Uint8Array(3).fill(2) });
  await image.writeZeroes({ offset: 200 * CLUSTER, length: 2 * CLUSTER });
  await image.discard({ offset: 300 * CLUSTER, length: 3 * CLUSTER });
  await image.write({ offset: SIZE - CLUSTER, from: new Uint8Array(CLUSTER).fill(3) });
  await image.close();
  await using reopened = await Qcow2Image.open({ storage, readOnly: true });
  const expected = [
    [100, 101],
    [110, 111],
    [200, 202],
    [300, 303],
    [SIZE / CLUSTER - 1, SIZE / CLUSTER],
  ].map(([start = 0, end = 0]) => ({ start: start * CLUSTER, end: end * CLUSTER }));
  expect(await dirtyIn(reopened, "all")).toEqual(expected);
});

it("forgets what lay behind the end of a smaller disk", async () => {
  const image = await newImage();
  await image.changeBitmaps([{ kind: "add", name: "all", granularity: 512 }]);
  await image.write({ offset: 0, from: new Uint8Array(SIZE).fill(1) });
  const kept = 1003 * CLUSTER;
  await image.resize({ size: kept, shrink: true });
  await image.resize({ size: SIZE });
  expect(await dirtyIn(image, "all")).toEqual([{ start: 0, end: kept }]);
  await image.close();
});

it("keeps no cluster of one that was cleared", async () => {
  const image = await newImage();
  await image.changeBitmaps([{ kind: "add", name: "all", granularity: 512 }]);
  await image.write({ offset: 0, from: new Uint8Array(SIZE).fill(1) });
  await image.changeBitmaps([{ kind: "disable", name: "all" }]);
  await image.changeBitmaps([{ kind: "clear", name: "all" }]);
  expect(await dirtyIn(image, "all")).toEqual([]);
  expect(await image.check()).toMatchObject({ corruptions: 0, leaks: 0, checkErrors: 0 });
  await image.close();
});

it("marks all that a part of a granule is dirty in, where a finer one is merged", async () => {
  const image = await newImage();
  await image.changeBitmaps([
    { kind: "add", name: "fine", granularity: 512 },
    { kind: "add", name: "coarse", granularity: 4096, enabled: false },
  ]);
  await image.write({ offset: 512, from: new Uint8Array(512).fill(1) });
  await image.write({ offset: 9 * 4096 - 512, from: new Uint8Array(1024).fill(1) });
  await image.changeBitmaps([{ kind: "merge", name: "coarse", source: "fine" }]);
  expect(await dirtyIn(image, "coarse")).toEqual([
    { start: 0, end: 4096 },
    { start: 8 * 4096, end: 10 * 4096 },
  ]);
  await image.close();
});
