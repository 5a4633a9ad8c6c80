/** Requests that wait for a change of the image as a whole, and such changes that wait: what holds when it is their turn. */
import { isQcow2Error, MemoryStorage, Qcow2Image } from "@qcow2/core";
import { expect, it } from "vitest";

const CLUSTER = 4096;
const SIZE = 64 * CLUSTER;

const newImage = (): Promise<Qcow2Image> =>
  Qcow2Image.create({ storage: new MemoryStorage(), size: SIZE, clusterSize: CLUSTER });

it("refuses what would lie behind the end of a disk that became smaller meanwhile", async () => {
  const image = await newImage();
  const offset = SIZE - CLUSTER;
  const shrinking = image.resize({ size: SIZE / 2, shrink: true });
  const from = new Uint8Array(CLUSTER).fill(1);
  const outcomes = await Promise.allSettled([
    image.write({ offset, from }),
    image.writeZeroes({ offset, length: CLUSTER }),
    image.discard({ offset, length: CLUSTER }),
  ]);
  await shrinking;
  for (const outcome of outcomes) {
    expect(outcome.status === "rejected" && isQcow2Error(outcome.reason, "out-of-range")).toBe(true);
  }
  await image.resize({ size: SIZE });
  const into = new Uint8Array(CLUSTER).fill(0xa5);
  await image.read({ offset, into });
  expect(into).toEqual(new Uint8Array(CLUSTER));
  await image.close();
});

it("does not make a change that was given up before its turn", async () => {
  const image = await newImage();
  const controller = new AbortController();
  const { signal } = controller;
  const writing = image.write({ offset: 0, from: new Uint8Array(CLUSTER).fill(1) });
  const waiting = [
    image.createSnapshot({ name: "never", signal }),
    image.resize({ size: SIZE * 2, signal }),
    image.makeEmpty({ signal }),
    image.amend({ lazyRefcounts: true, signal }),
  ];
  controller.abort(new Error("enough"));
  for (const work of waiting) await expect(work).rejects.toThrow("enough");
  await writing;
  await image.flush();
  expect(await image.check()).toMatchObject({ corruptions: 0, leaks: 0 });
  expect(image.info()).toMatchObject({ snapshots: [], lazyRefcounts: false });
  expect(image.size).toBe(SIZE);
  const into = new Uint8Array(CLUSTER);
  await image.read({ offset: 0, into });
  expect(into).toEqual(new Uint8Array(CLUSTER).fill(1));
  await image.close();
});

it("shows nothing of what a data file holds behind the end of a disk that grows", async () => {
  const data = new MemoryStorage();
  const image = await Qcow2Image.create({
    storage: new MemoryStorage(),
    size: SIZE,
    clusterSize: CLUSTER,
    dataFile: { name: "data", storage: data, raw: true },
  });
  await data.write(SIZE, new Uint8Array(3 * CLUSTER + 100).fill(7));
  await image.resize({ size: SIZE + 3 * CLUSTER });
  const into = new Uint8Array(3 * CLUSTER).fill(0xa5);
  await image.read({ offset: SIZE, into });
  expect(into).toEqual(new Uint8Array(3 * CLUSTER));
  await image.close();
});
