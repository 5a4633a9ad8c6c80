/** Converting with real images on both sides, all in memory. A failing run prints its seed; fast-check replays it. */
import { type Disk, type ImageOptions, MemoryStorage, Qcow2Image, RawDisk } from "@qcow2/core";
import {
  CopyingStorage,
  chainArbitrary,
  expectSameContent,
  type HostCopies,
  imageOptionsArbitrary,
  modelOfChain,
} from "@qcow2/testing";
import fc from "fast-check";
import { expect, it } from "vitest";
import { compareDisks, convertDisk } from "../src/index.ts";
import { codecs, ReusableStorage, StoredChain } from "./stored-chain.ts";

const drawnSource = chainArbitrary({ compressionTypes: ["zlib"], maxOperations: 5 });
const drawnTarget = imageOptionsArbitrary({ compressionTypes: ["zlib"] });
/** Of the conversion, and of the storage that it writes to. */
const drawnOptions = fc
  .record({
    sparseBytes: fc.constantFrom(0, 512, 4096, 4096, 65536),
    parallel: fc.integer({ min: 1, max: 9 }),
    chunkBytes: fc.constantFrom(4096, 65536, 2 ** 21),
    outOfOrder: fc.boolean(),
    how: fc.constantFrom("plain", "compress", "copyOffload"),
    hostCopies: fc.constantFrom<HostCopies>("all", "all", "nothing", "a part"),
  })
  .map(({ how, ...options }) => ({
    ...options,
    compress: how === "compress",
    copyOffload: how === "copyOffload",
  }));

/** Opens the image again and holds it against its source: content, and nothing for the check to find. */
async function expectSoundCopy(source: Disk, storage: ReusableStorage, backing?: Disk): Promise<void> {
  const references = {
    openBackingFile: async () => backing as Disk,
    openDataFile: async () => Promise.reject(new Error("there is none")),
  };
  const copy = await Qcow2Image.open({ storage, readOnly: true, codecs, references });
  expect(await compareDisks({ first: source, second: copy })).toEqual({ identical: true });
  expect(await copy.check()).toMatchObject({ corruptions: 0, leaks: 0, checkErrors: 0 });
  await copy.close();
}

it("copies any chain into any new image, and back into a raw one", async () => {
  await fc.assert(
    fc.asyncProperty(drawnSource, drawnTarget, drawnOptions, async (drawn, image, options) => {
      const source = (await (await StoredChain.build(drawn)).open())!;
      const model = await modelOfChain(drawn);
      const storage = new ReusableStorage(options);
      const target = await Qcow2Image.create({ ...image, storage, size: source.size, codecs });
      await convertDisk({ source, target, targetIsZero: true, ...options });
      await expectSameContent(target, model);
      await target.close();
      await expectSoundCopy(source, storage);

      const copy = await Qcow2Image.open({ storage, readOnly: true, codecs });
      const raw = await RawDisk.open({ storage: new CopyingStorage(options), size: source.size });
      await convertDisk({ source: copy, target: raw, targetIsZero: true, ...options, compress: false });
      await expectSameContent(raw, model);
      await source.close();
    }),
    { numRuns: 15 },
  );
}, 60_000);

it("copies over what an existing image holds", async () => {
  await fc.assert(
    fc.asyncProperty(drawnSource, drawnSource, drawnOptions, async (drawn, old, options) => {
      const source = (await (await StoredChain.build(drawn)).open())!;
      const before = (await (await StoredChain.build(old)).open())!;
      const storage = new ReusableStorage(options);
      const size = Math.max(source.size, before.size);
      const image = imageOptionsOf(old.top.options);
      const target = await Qcow2Image.create({ ...image, storage, size, codecs });
      await convertDisk({ source: before, target, targetIsZero: true });
      await convertDisk({ source, target, targetIsZero: false, ...options });
      const model = await modelOfChain(drawn);
      expect(await model.firstDifference(target)).toBeUndefined();
      await target.close();
      const copy = await Qcow2Image.open({ storage, readOnly: true, codecs });
      expect(await copy.check()).toMatchObject({ corruptions: 0, leaks: 0, checkErrors: 0 });
    }),
    { numRuns: 15 },
  );
}, 60_000);

it("copies an overlay onto the same backing file, without what that holds", async () => {
  await fc.assert(
    fc.asyncProperty(drawnSource, drawnTarget, drawnOptions, async (drawn, image, options) => {
      const chain = await StoredChain.build(drawn);
      const source = (await chain.open())!;
      const backing = await chain.open(1);
      fc.pre(backing !== undefined);
      const storage = new ReusableStorage(options);
      const references = {
        openBackingFile: async () => (await chain.open(1)) as Disk,
        openDataFile: async () => Promise.reject(new Error("there is none")),
      };
      const backingFile = { name: "below", format: backing!.format };
      const target = await Qcow2Image.create({
        ...image,
        storage,
        size: source.size,
        codecs,
        references,
        backingFile,
      });
      await convertDisk({
        source,
        target,
        targetIsZero: false,
        targetBacking: { size: backing!.size },
        ...options,
      });
      await expectSameContent(target, await modelOfChain(drawn));
      await target.close();
      await expectSoundCopy(source, storage, await chain.open(1));
    }),
    { numRuns: 15 },
  );
}, 60_000);

/** Without preallocation: the old image is to have holes too. */
function imageOptionsOf({ preallocation: _, ...options }: ImageOptions): ImageOptions {
  return options;
}

it("has the host copy whole clusters, and reads only what it does not copy", async () => {
  const size = 8 * 2 ** 20;
  const noise = Uint8Array.from({ length: size }, (_, index) => (index * 2654435761) >>> 13);
  for (const [hostCopies, clusterSize] of [
    ["all", 4096],
    ["all", 65536],
    ["a part", 4096],
    ["nothing", 4096],
  ] as const) {
    const storage = new ReusableStorage();
    {
      // In an order of its own, so that no two clusters that follow one another lie beside each other.
      await using image = await Qcow2Image.create({ storage, size, clusterSize });
      const clusters = size / clusterSize;
      for (let done = 0, cluster = 0; done < clusters; done++, cluster = (cluster + 7) % clusters) {
        const offset = cluster * clusterSize;
        await image.write({ offset, from: noise.subarray(offset, offset + clusterSize) });
      }
    }
    const targetStorage = new ReusableStorage({ hostCopies });
    const target = await Qcow2Image.create({ storage: targetStorage, size, clusterSize });
    const source = await Qcow2Image.open({ storage, readOnly: true });
    const result = await convertDisk({ source, target, targetIsZero: true, copyOffload: true });
    expect(result).toMatchObject({ bytesWritten: size, bytesRead: hostCopies === "all" ? 0 : size });
    if (hostCopies === "all") expect(targetStorage.bytesCopied).toBe(size);
    await target.close();
    await expectSoundCopy(source, targetStorage);
  }
});

it("copies neither compressed nor salvaged data by the host, nor from a source that may be written", async () => {
  const size = 2 ** 20;
  const storage = new ReusableStorage({ hostCopies: "all" });
  await using source = await RawDisk.open({
    storage: new MemoryStorage({ bytes: new Uint8Array(size).fill(1) }),
  });
  await using target = await Qcow2Image.create({ storage, size, codecs });
  const options = { source, target, targetIsZero: true, copyOffload: true };
  for (const other of [{ compress: true }, { salvage: true }]) {
    await expect(convertDisk({ ...options, ...other })).rejects.toMatchObject({
      code: "invalid-option",
      data: { option: "copyOffload" },
    });
  }
  expect(await convertDisk(options)).toMatchObject({ bytesRead: size, bytesWritten: size });
  expect(storage.bytesCopied).toBe(0);
});
