/** A flush that failed is final: the host tells of what it lost once, and no later or concurrent flush may deny it. */
import {
  FinalFlush,
  isQcow2Error,
  MemoryStorage,
  PartOfStorage,
  Qcow2Error,
  Qcow2Image,
  RawDisk,
} from "@qcow2/core";
import { KeptStorage, type StorageOperation, WrappedStorage } from "@qcow2/testing";
import { describe, expect, it } from "vitest";

const CLUSTER = 4096;

/** As a kernel: the flush after `failNext` was set fails, and all others succeed, however many there are at once. */
class ForgetfulStorage extends WrappedStorage {
  failNext = false;
  flushes = 0;

  protected override async before({ kind }: StorageOperation): Promise<void> {
    if (kind !== "flush") return;
    this.flushes++;
    const fails = this.failNext;
    this.failNext = false;
    await new Promise((resolve) => setImmediate(resolve));
    if (!fails) return;
    throw new Qcow2Error("io", "flush failed: EIO", { operation: "flush", name: this.name, errno: "EIO" });
  }
}

async function reasonOf(work: Promise<unknown>): Promise<unknown> {
  return await work.then(
    () => "it succeeded",
    (error: unknown) => (isQcow2Error(error, "io") ? error.data.errno : error),
  );
}

async function openForgetful(): Promise<{
  image: Qcow2Image;
  storage: ForgetfulStorage;
  kept: MemoryStorage;
}> {
  const kept = new MemoryStorage({ name: "image" });
  const created = await Qcow2Image.create({
    storage: new KeptStorage(kept),
    size: 64 * CLUSTER,
    clusterSize: CLUSTER,
  });
  await created.write({ offset: 0, from: new Uint8Array(4 * CLUSTER).fill(1) });
  await created.close();
  const storage = new ForgetfulStorage(new KeptStorage(kept));
  return { image: await Qcow2Image.open({ storage }), storage, kept };
}

const FLUSHING: readonly (readonly [string, (image: Qcow2Image) => Promise<unknown>])[] = [
  ["flush", (image) => image.flush()],
  ["a snapshot", (image) => image.createSnapshot({ name: "s" })],
  ["a resize", (image) => image.resize({ size: 65 * CLUSTER })],
  ["emptying", (image) => image.makeEmpty()],
  ["a bitmap", (image) => image.changeBitmaps([{ kind: "add", name: "b" }])],
  ["a check", (image) => image.check()],
];

describe.each(FLUSHING)("after %s whose flush failed", (_name, fail) => {
  it("nothing is changed any more, no flush succeeds, and closing says so; reading goes on", async () => {
    const { image, storage, kept } = await openForgetful();
    await image.write({ offset: 8 * CLUSTER, from: new Uint8Array(CLUSTER).fill(2) });
    storage.failNext = true;
    expect(await reasonOf(fail(image))).toBe("EIO");
    for (const [, again] of FLUSHING) expect(await reasonOf(again(image))).toBe("EIO");
    expect(await reasonOf(image.write({ offset: 0, from: new Uint8Array(1) }))).toBe("EIO");
    const into = new Uint8Array(1);
    await image.read({ offset: 8 * CLUSTER, into });
    expect(into[0]).toBe(2);
    expect(await reasonOf(image.close())).toBe("EIO");
    const anew = await Qcow2Image.open({ storage: new ForgetfulStorage(new KeptStorage(kept)) });
    await anew.write({ offset: 0, from: new Uint8Array(1).fill(3) });
    await anew.close();
  });
});

it("fails all flushes that are asked for at the same time", async () => {
  const { image, storage } = await openForgetful();
  await image.write({ offset: 0, from: new Uint8Array(10) });
  storage.failNext = true;
  const reasons = await Promise.all([image.flush(), image.flush(), image.flush()].map(reasonOf));
  expect(reasons).toEqual(["EIO", "EIO", "EIO"]);
});

it("holds for every image, disk and part that shares the storage", async () => {
  const storage = new ForgetfulStorage(new MemoryStorage({ bytes: new Uint8Array(2 ** 20) }));
  const [raw, other] = [await RawDisk.open({ storage }), await RawDisk.open({ storage })];
  const part = await PartOfStorage.open(storage, { offset: 512 });
  storage.failNext = true;
  const reasons = await Promise.all([raw.flush(), other.flush(), part.flush(), raw.flush()].map(reasonOf));
  expect(reasons).toEqual(["EIO", "EIO", "EIO", "EIO"]);
  expect(await reasonOf(other.flush())).toBe("EIO");
});

it("holds for the external data file, without a word from the image file", async () => {
  const data = new ForgetfulStorage(new MemoryStorage());
  const image = await Qcow2Image.create({
    storage: new MemoryStorage(),
    size: 64 * CLUSTER,
    dataFile: { name: "data", storage: data },
  });
  await image.write({ offset: 0, from: new Uint8Array(10) });
  data.failNext = true;
  expect(await reasonOf(image.flush())).toBe("EIO");
  expect(await reasonOf(image.flush())).toBe("EIO");
  expect(await reasonOf(image.write({ offset: 0, from: new Uint8Array(10) }))).toBe("EIO");
  expect(await reasonOf(image.close())).toBe("EIO");
});

it("flushes once for all who ask while another flush is under way, and never twice at a time", async () => {
  let [underWay, count] = [0, 0];
  const flushes = new FinalFlush(async () => {
    expect(++underWay).toBe(1);
    count++;
    await new Promise((resolve) => setImmediate(resolve));
    underWay--;
  });
  await Promise.all([flushes.flush(), flushes.flush(), flushes.flush(), flushes.flush()]);
  expect(count).toBe(2);
  await flushes.flush();
  expect(count).toBe(3);
});
