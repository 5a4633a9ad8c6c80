/** Who looks at an image that is being changed sees one state of it, or is told that there is none any more. */
import { isQcow2Error, MemoryStorage, Qcow2Image, RawDisk } from "@qcow2/core";
import { KeptStorage, WrappedStorage } from "@qcow2/testing";
import { describe, expect, it } from "vitest";

const CLUSTER = 512;
const SIZE: number = 1024 * CLUSTER;

/** Every operation takes a turn of the event loop. */
class SlowStorage extends WrappedStorage {
  protected override async before(): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve));
  }
}

async function openSlowly(): Promise<Qcow2Image> {
  const kept = new MemoryStorage({ name: "image" });
  const created = await Qcow2Image.create({
    storage: new KeptStorage(kept),
    size: SIZE,
    clusterSize: CLUSTER,
  });
  for (let cluster = 0; cluster < 1024; cluster += 2) {
    await created.write({ offset: cluster * CLUSTER, from: new Uint8Array(CLUSTER).fill(1) });
  }
  await created.createSnapshot({ name: "old" });
  await created.changeBitmaps([{ kind: "add", name: "follows", granularity: 512 }]);
  await created.close();
  const storage = new SlowStorage(new KeptStorage(kept));
  return await Qcow2Image.open({ storage, l2CacheBytes: 1, refcountCacheBytes: 1 });
}

function changesOf(image: Qcow2Image): readonly Promise<unknown>[] {
  const from = new Uint8Array(5 * CLUSTER).fill(9);
  return Array.from({ length: 40 }, (_, index) => {
    const offset = index * 24 * CLUSTER;
    if (index % 10 === 9) return image.createSnapshot({ name: `s${index}` });
    if (index % 3 === 1) return image.discard({ offset, length: 20 * CLUSTER });
    return image.write({ offset, from });
  });
}

async function expectSound(image: Qcow2Image): Promise<void> {
  const { corruptions, leaks, checkErrors } = await image.check();
  expect([corruptions, leaks, checkErrors]).toEqual([0, 0, 0]);
}

it("a check finds nothing beside writes, discards and snapshots", async () => {
  const image = await openSlowly();
  for (let round = 0; round < 3; round++) {
    const changes = changesOf(image).slice(0, 10 * (round + 1));
    const checks = [expectSound(image)];
    const more = image.write({ offset: 0, from: new Uint8Array(100 * CLUSTER).fill(round) });
    checks.push(expectSound(image));
    await Promise.all([...changes, ...checks, more]);
    for (const { id } of image.info().snapshots.slice(1)) await image.deleteSnapshot({ id });
  }
  await image.close();
});

it("a check that waits for its turn ends when it is aborted, and nobody waits for it then", async () => {
  const image = await openSlowly();
  const controller = new AbortController();
  let hasWritten = false;
  const write = image
    .write({ offset: 0, from: new Uint8Array(200 * CLUSTER) })
    .then(() => (hasWritten = true));
  const check = image.check({ signal: controller.signal });
  controller.abort(new Error("no need"));
  await expect(check).rejects.toThrow("no need");
  expect(hasWritten).toBe(false);
  await write;
  await image.write({ offset: 0, from: new Uint8Array(CLUSTER) });
  await image.close();
});

it("a check that has begun ends when it is aborted, and closing does not wait for more", async () => {
  const image = await openSlowly();
  const controller = new AbortController();
  const check = image.check({
    signal: controller.signal,
    onProgress: () => controller.abort(new Error("enough")),
  });
  await expect(check).rejects.toThrow("enough");
  await image.close();
});

const REPLACING: readonly (readonly [string, (image: Qcow2Image) => Promise<unknown>])[] = [
  ["applySnapshot", (image) => image.applySnapshot({ name: "old" })],
  ["resize", (image) => image.resize({ size: CLUSTER, shrink: true })],
  ["makeEmpty", (image) => image.makeEmpty()],
  [
    "setBackingFile",
    async (image) =>
      await image.setBackingFile({
        name: "base",
        format: "raw",
        disk: await RawDisk.open({ storage: new MemoryStorage({ bytes: new Uint8Array(SIZE) }) }),
      }),
  ],
];

describe.each(REPLACING)("a map and %s", (name, replace) => {
  it("before a step of it: it says that the disk is another", async () => {
    const image = await openSlowly();
    // A snapshot cannot be applied to an image with bitmaps.
    if (name === "applySnapshot") await image.changeBitmaps([{ kind: "remove", name: "follows" }]);
    const extents = image.map();
    await replace(image);
    const error = await (async (): Promise<unknown> => {
      try {
        for await (const _extent of extents);
        return undefined;
      } catch (reason) {
        return reason;
      }
    })();
    expect(isQcow2Error(error, "changed")).toBe(true);
    await image.close();
  });
});

it("a map goes on beside writes and snapshots", async () => {
  const image = await openSlowly();
  let mapped = 0;
  for await (const { length } of image.map()) {
    mapped += length;
    if (mapped === CLUSTER) {
      await image.write({ offset: 0, from: new Uint8Array(CLUSTER) });
      await image.createSnapshot({ name: "beside" });
    }
  }
  expect(mapped).toBe(SIZE);
  await image.close();
});

it("a bitmap's ranges say when other bits are stored, and go on beside what leaves them", async () => {
  const image = await openSlowly();
  await image.write({ offset: 0, from: new Uint8Array(CLUSTER).fill(3) });
  await image.createSnapshot({ name: "stores them" });
  const whole = { start: 0, end: SIZE };
  const before = await image.dirtyRanges("follows");
  await image.createSnapshot({ name: "leaves them" });
  const seen: unknown[] = [];
  for await (const range of before.ranges(whole)) seen.push(range);
  expect(seen).toEqual([{ start: 0, end: CLUSTER }]);
  await image.write({ offset: 8 * CLUSTER, from: new Uint8Array(CLUSTER).fill(3) });
  await image.createSnapshot({ name: "stores others" });
  const later = before.ranges(whole)[Symbol.asyncIterator]();
  await expect(later.next()).rejects.toSatisfy((error) => isQcow2Error(error, "changed"));
  await image.close();
});
