/** Opening a dirty image for writing gives it right refcounts first, or leaves it as it is. */
import { checkStorage, isQcow2Error, type MemoryStorage, Qcow2Image } from "@qcow2/core";
import {
  ENGINE_SHAPES,
  expectSameContent,
  FaultyStorage,
  KeptStorage,
  openShape,
  type ShapeFiles,
} from "@qcow2/testing";
import { describe, expect, it } from "vitest";

const OFFSET_MASK = 0x00fffffffffffe00n;

/** What a writer that postpones refcounts and does not come to write them can leave. */
const DAMAGES: Readonly<Record<string, (storage: MemoryStorage) => Promise<void>>> = {
  "refcounts that are all zero": async (storage) => {
    const block = await uint64At(storage, await uint64At(storage, 48));
    await storage.write(block, new Uint8Array(await clusterSizeOf(storage)));
  },
  "a refcount table without entries": async (storage) => {
    await storage.write(await uint64At(storage, 48), new Uint8Array(await clusterSizeOf(storage)));
  },
  "refcounts that are too high": async (storage) => {
    const block = await uint64At(storage, await uint64At(storage, 48));
    await storage.write(block, new Uint8Array(await clusterSizeOf(storage)).fill(0xff));
  },
  "right refcounts": async () => undefined,
};

async function uint64At(storage: MemoryStorage, offset: number): Promise<number> {
  const bytes = new Uint8Array(8);
  await storage.read(offset, bytes);
  return Number(new DataView(bytes.buffer).getBigUint64(0) & OFFSET_MASK);
}

async function clusterSizeOf(storage: MemoryStorage): Promise<number> {
  const bytes = new Uint8Array(4);
  await storage.read(20, bytes);
  return 2 ** new DataView(bytes.buffer).getUint32(0);
}

async function setDirty(storage: MemoryStorage): Promise<void> {
  const byte = new Uint8Array(1);
  await storage.read(79, byte);
  await storage.write(79, Uint8Array.of((byte[0] as number) | 1));
}

async function expectRepaired(files: ShapeFiles): Promise<void> {
  expect(await checkStorage(files.image)).toMatchObject({ corruptions: 0, leaks: 0, checkErrors: 0 });
  const byte = new Uint8Array(1);
  await files.image.read(79, byte);
  expect((byte[0] as number) & 3).toBe(0);
}

describe.each(Object.entries(DAMAGES))("%s", (_name, damage) => {
  it.each(ENGINE_SHAPES.filter(({ version }) => version === 3))("$name", async (shape) => {
    const { files, model } = await shape.build();
    await damage(files.image);
    await setDirty(files.image);
    const image = await openShape(files, { cacheBytes: 1 });
    const from = new Uint8Array(Math.min(shape.size, 20_000)).fill(7);
    await image.write({ offset: 0, from });
    await model.write(0, from);
    await expectSameContent(image, model);
    await image.close();
    await expectRepaired(files);
  });
});

it.each(["once", "from-then-on"] as const)(
  "can fail anywhere (%s), and is done by the next who opens the image",
  async (repeat) => {
    const shape = ENGINE_SHAPES.find(({ name }) => name === "shared with a snapshot, clusters of 512 bytes")!;
    let isCutOff = true;
    for (let failAt = 1; isCutOff; failAt++) {
      const { files, model } = await shape.build();
      await DAMAGES["refcounts that are all zero"]!(files.image);
      await setDirty(files.image);
      const storage = new FaultyStorage(new KeptStorage(files.image), {
        failAt,
        kinds: ["write", "flush", "truncate"],
        repeat,
      });
      isCutOff = await Qcow2Image.open({ storage }).then(
        () => false,
        () => true,
      );
      const image = await openShape(files);
      await expectSameContent(image, model);
      await image.close();
      await expectRepaired(files);
    }
  },
);

it("leaves an image with other damage, or one that is not to be repaired, as it is", async () => {
  const shape = ENGINE_SHAPES.find(({ name }) => name === "clusters of 4 KiB")!;
  const { files } = await shape.build();
  await setDirty(files.image);
  const unrepaired = files.image.toBytes();
  await expect(openShape(files, { repair: false })).rejects.toSatisfy((error) =>
    isQcow2Error(error, "needs-repair"),
  );
  expect(Buffer.from(files.image.toBytes()).equals(unrepaired)).toBe(true);
  await (await openShape(files, { readOnly: true })).close();
  expect(Buffer.from(files.image.toBytes()).equals(unrepaired)).toBe(true);
  // Two L2 entries lead to the same cluster, and both say that it is theirs alone.
  const l2 = await uint64At(files.image, await uint64At(files.image, 40));
  const entry = new Uint8Array(8);
  await files.image.read(l2, entry);
  await files.image.write(l2 + 16, entry);
  const before = files.image.toBytes();
  await expect(openShape(files)).rejects.toSatisfy((error) => isQcow2Error(error, "needs-repair"));
  expect(Buffer.from(files.image.toBytes()).equals(before)).toBe(true);
});
