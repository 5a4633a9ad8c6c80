/** What `discard: "unmap"` gives back to the host, and when. */
import { setImmediate } from "node:timers/promises";
import { checkStorage, isQcow2Error, MemoryStorage, Qcow2Image, type Storage } from "@qcow2/core";
import {
  ENGINE_SHAPES,
  expectSameContent,
  KeptStorage,
  openShape,
  PlainStorage,
  type StorageOperation,
} from "@qcow2/testing";
import { expect, it } from "vitest";

const CLUSTER = 65536;
const SIZE = 64 * CLUSTER;

async function filledImage(): Promise<MemoryStorage> {
  const storage = new MemoryStorage();
  const image = await Qcow2Image.create({ storage: new KeptStorage(storage), size: SIZE });
  await image.write({ offset: 0, from: new Uint8Array(SIZE).fill(1) });
  await image.close();
  return storage;
}

function open(storage: Storage, discard: "ignore" | "unmap"): Promise<Qcow2Image> {
  return Qcow2Image.open({ storage: new KeptStorage(storage), discard });
}

it("punches the clusters that were given up, once nothing on the disk refers to them", async () => {
  const storage = await filledImage();
  const before = await storage.allocatedBytes();
  const image = await open(storage, "unmap");
  await image.discard({ offset: 8 * CLUSTER, length: 16 * CLUSTER });
  expect(await storage.allocatedBytes()).toBe(before);
  await image.flush();
  expect(await storage.allocatedBytes()).toBe(before - 16 * CLUSTER);
  await image.close();
  expect(await checkStorage(storage)).toMatchObject({ corruptions: 0, leaks: 0 });
});

it("keeps the space where it is not asked to give it back", async () => {
  const storage = await filledImage();
  const [before, size] = [await storage.allocatedBytes(), await storage.size()];
  const image = await open(storage, "ignore");
  await image.discard({ offset: 0, length: SIZE });
  await image.close();
  expect(await storage.allocatedBytes()).toBe(before);
  expect(await storage.size()).toBe(size);
});

it("cuts off the end of the file on closing", async () => {
  const storage = await filledImage();
  const size = await storage.size();
  const image = await open(storage, "unmap");
  await image.discard({ offset: 32 * CLUSTER, length: 32 * CLUSTER });
  await image.close();
  expect(await storage.size()).toBe(size - 32 * CLUSTER);
  expect(await checkStorage(storage)).toMatchObject({ corruptions: 0, leaks: 0 });
});

it("also cuts off the end where no holes can be punched", async () => {
  const storage = await filledImage();
  const size = await storage.size();
  const image = await open(new PlainStorage(storage), "unmap");
  await image.writeZeroes({ offset: 32 * CLUSTER, length: 32 * CLUSTER, unmap: true });
  await image.close();
  expect(await storage.size()).toBe(size - 32 * CLUSTER);
});

it("goes on where the host refuses to punch", async () => {
  class Refusing extends KeptStorage {
    protected override async before({ kind }: StorageOperation): Promise<void> {
      if (kind === "punchHole") throw new Error("not on this file system");
    }
  }
  const storage = await filledImage();
  const image = await open(new Refusing(storage), "unmap");
  await image.discard({ offset: 0, length: 8 * CLUSTER });
  await image.close();
  expect(await checkStorage(storage)).toMatchObject({ corruptions: 0, leaks: 0 });
});

it("uses clusters again that it punched, on every shape", async () => {
  for (const shape of ENGINE_SHAPES) {
    const { files, model } = await shape.build();
    const image = await openShape(files, { discard: "unmap" });
    for (let round = 1; round <= 3; round++) {
      await image.discard({ offset: 0, length: shape.size });
      await image.flush();
      const from = new Uint8Array(shape.size).fill(round);
      await image.write({ offset: 0, from });
      await model.write(0, from);
    }
    await image.close();
    const reopened = await openShape(files, { readOnly: true });
    await expectSameContent(reopened, model);
    expect(await reopened.check(), shape.name).toMatchObject({ corruptions: 0, leaks: 0 });
  }
});

it("shows the backing file again only where that is asked for", async () => {
  const shape = ENGINE_SHAPES.find(({ name }) => name === "over a backing file")!;
  const { files } = await shape.build();
  const image = await openShape(files);
  const below = (offset: number): Uint8Array =>
    files.backing!.toBytes().slice(offset, offset + shape.clusterSize);
  const into = new Uint8Array(shape.clusterSize);
  await image.discard({ offset: 0, length: 2 * shape.clusterSize });
  await image.read({ offset: 0, into });
  expect(into).toEqual(new Uint8Array(shape.clusterSize));
  await image.discard({ offset: 0, length: shape.clusterSize, revealBacking: true });
  await image.read({ offset: 0, into });
  expect(into).toEqual(below(0));
  await image.read({ offset: shape.clusterSize, into });
  expect(into).toEqual(new Uint8Array(shape.clusterSize));
  await image.close();
});

it("stops at the abort of a long discard, with everything before it done", async () => {
  const storage = await filledImage();
  const image = await open(storage, "ignore");
  const discarding = image.discard({
    offset: 0,
    length: SIZE,
    signal: AbortSignal.abort(new Error("enough")),
  });
  await expect(discarding).rejects.toThrow("enough");
  await expect(image.discard({ offset: 1, length: SIZE })).rejects.toSatisfy((error) =>
    isQcow2Error(error, "out-of-range"),
  );
  await image.close();
  expect(await checkStorage(storage)).toMatchObject({ corruptions: 0, leaks: 0 });
});

it("takes what was given up before it lets the file grow", async () => {
  const storage = await filledImage();
  const size = await storage.size();
  const image = await open(storage, "ignore");
  for (const start of [40, 8, 24]) {
    const range = { offset: start * CLUSTER, length: 16 * CLUSTER };
    await image.discard(range);
    await image.flush();
    await image.write({ offset: range.offset, from: new Uint8Array(range.length).fill(2) });
    await image.flush();
  }
  expect(await storage.size()).toBe(size);
  await image.close();
});

it("gives nothing back under a read that began before", async () => {
  const storage = await filledImage();
  const reading = new ReadsHeldUp(storage);
  await using image = await Qcow2Image.open({ storage: reading, discard: "unmap" });
  const into = new Uint8Array(2 * CLUSTER);
  reading.holdNext();
  const read = image.read({ offset: 40 * CLUSTER, into });
  await reading.isHeld;
  const emptied = image.makeEmpty();
  // As long as emptying may take: everything but the read has its turns.
  for (let turn = 0; turn < 200; turn++) await setImmediate();
  reading.release();
  await Promise.all([read, emptied]);
  expect(into.every((byte) => byte === 1)).toBe(true);
});

/** A storage of which one read can be kept waiting. */
class ReadsHeldUp extends KeptStorage {
  isHeld: Promise<void> = Promise.resolve();
  #release: (() => void) | undefined;
  #onHeld: (() => void) | undefined;

  holdNext(): void {
    this.isHeld = new Promise((resolve) => {
      this.#onHeld = resolve;
    });
  }

  release(): void {
    this.#release?.();
  }

  override async read(offset: number, into: Uint8Array): Promise<number> {
    const onHeld = this.#onHeld;
    this.#onHeld = undefined;
    if (onHeld !== undefined) {
      await new Promise<void>((resolve) => {
        this.#release = resolve;
        onHeld();
      });
    }
    return await super.read(offset, into);
  }
}
