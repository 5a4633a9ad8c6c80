/** A signal ends the request that it was given to, and no other one. */
import { checkStorage, MemoryStorage, Qcow2Image } from "@qcow2/core";
import { KeptStorage, type StorageOperation } from "@qcow2/testing";
import { expect, it } from "vitest";

const CLUSTER = 4096;
const SIZE = 64 * 2 ** 20;

/** Calls `onRead` before each read. */
class WatchedReads extends KeptStorage {
  onRead: () => void = () => undefined;

  protected override async before({ kind }: StorageOperation): Promise<void> {
    if (kind === "read") this.onRead();
    // So that others come to ask meanwhile.
    await new Promise((resolve) => setImmediate(resolve));
  }
}

async function filledImage(): Promise<MemoryStorage> {
  const storage = new MemoryStorage();
  const image = await Qcow2Image.create({
    storage: new KeptStorage(storage),
    size: SIZE,
    clusterSize: CLUSTER,
  });
  await image.write({ offset: 0, from: new Uint8Array(256 * CLUSTER).fill(1) });
  await image.close();
  return storage;
}

it("while what all of them need is being found out", async () => {
  let aborted = 0;
  for (let abortAt = 1; ; abortAt++) {
    const storage = await filledImage();
    const watched = new WatchedReads(storage);
    const image = await Qcow2Image.open({ storage: watched });
    const controller = new AbortController();
    let reads = 0;
    watched.onRead = () => {
      if (++reads === abortAt) controller.abort(new Error("enough"));
    };
    const outcomes = await Promise.allSettled([
      image.discard({ offset: 0, length: 128 * CLUSTER, signal: controller.signal }),
      image.write({ offset: SIZE / 2, from: new Uint8Array(CLUSTER).fill(2) }),
      image.writeZeroes({ offset: 128 * CLUSTER, length: 128 * CLUSTER, unmap: true }),
      image.createSnapshot({ name: "kept" }),
    ]);
    const [discarded, ...others] = outcomes.map(({ status }) => status);
    expect(others).toEqual(["fulfilled", "fulfilled", "fulfilled"]);
    if (discarded === "rejected") aborted++;
    await image.close();
    expect(await checkStorage(storage)).toMatchObject({ corruptions: 0, leaks: 0 });
    if (abortAt > reads) break;
  }
  expect(aborted).toBeGreaterThan(0);
});
