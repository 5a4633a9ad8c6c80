/** Rebasing real images in memory. A failing run prints its seed; fast-check replays it. */
import { type Disk, Qcow2Image, RawDisk, type References } from "@qcow2/core";
import { chainArbitrary, expectSameContent, modelOfChain } from "@qcow2/testing";
import fc from "fast-check";
import { expect, it } from "vitest";
import { rebaseDisk } from "../src/index.ts";
import { codecs, ReusableStorage, StoredChain } from "./stored-chain.ts";

const drawnChain = chainArbitrary({ compressionTypes: ["zlib"], maxOperations: 5 });

function referencesTo(backing: Disk | undefined): References {
  return {
    openBackingFile: async () => backing as Disk,
    openDataFile: async () => Promise.reject(new Error("there is none")),
  };
}

it("keeps what any overlay reads, over any other backing file", async () => {
  let cases = 0;
  await fc.assert(
    fc.asyncProperty(
      drawnChain.filter(({ top }) => top.dataFile === "none"),
      drawnChain,
      fc.record({
        target: fc.constantFrom("other" as const, "own" as const, "none" as const),
        which: fc.nat(9),
        parallel: fc.integer({ min: 1, max: 9 }),
        chunkBytes: fc.constantFrom(4096, 65536, 2 ** 20),
        compress: fc.boolean(),
      }),
      async (drawn, other, { target, which, ...options }) => {
        const chain = await StoredChain.build(drawn);
        const model = await modelOfChain(drawn);
        const ownDepth = 1 + (which % Math.max(1, drawn.below.length));
        const otherChain = target === "own" ? chain : await StoredChain.build(other);
        const open = async (): Promise<Disk | undefined> =>
          target === "none" ? undefined : await otherChain.open(target === "own" ? ownDepth : 0);
        const backing = await open();
        const overlay = (await chain.open(0, [0])) as Qcow2Image;
        const sharedDepth = target === "own" && backing !== undefined ? ownDepth : undefined;
        await rebaseDisk({ overlay, backing, sharedDepth, ...options });
        await expectSameContent(overlay, model);
        await overlay.setBackingFile(backing && { name: "new", format: backing.format, disk: backing });
        await expectSameContent(overlay, model);
        await overlay.close();

        const reopened = await chain.openTop(referencesTo(await open()));
        expect(reopened.info().backingFile).toBe(backing && "new");
        await expectSameContent(reopened, model);
        expect(await reopened.check()).toMatchObject({ corruptions: 0, leaks: 0, checkErrors: 0 });
        cases++;
      },
    ),
    { numRuns: 35 },
  );
  expect(cases).toBeGreaterThan(20);
}, 60_000);

interface Layers {
  readonly storage: ReusableStorage;
  readonly overlay: Qcow2Image;
  readonly base: RawDisk;
}

/** Ones, in a storage that stays open. */
async function rawDisk(size: number): Promise<RawDisk> {
  const storage = new ReusableStorage({ bytes: new Uint8Array(size).fill(1) });
  return await RawDisk.open({ storage, readOnly: true });
}

/** 1 MiB over 768 KiB of ones; the overlay defines its second cluster. */
async function smallChain(image: { readonly version?: 2 | 3 } = {}): Promise<Layers> {
  const storage = new ReusableStorage();
  const base = await rawDisk(3 * 2 ** 18);
  const overlay = await Qcow2Image.create({
    ...image,
    storage,
    size: 2 ** 20,
    backingFile: { name: "base", format: "raw" },
    references: referencesTo(base),
  });
  await overlay.write({ offset: 2 ** 16, from: new Uint8Array(2 ** 16).fill(2) });
  return { storage, overlay, base };
}

it.each([2, 3] as const)(
  "hides a longer backing file where the old one ended, version %i",
  async (version) => {
    const { overlay, storage } = await smallChain({ version });
    const expected = new Uint8Array(2 ** 20);
    await overlay.read({ offset: 0, into: expected });
    const bytes = new Uint8Array(2 ** 21).fill(1);
    const backing = await RawDisk.open({ storage: new ReusableStorage({ bytes }) });
    const result = await rebaseDisk({ overlay, backing });
    // What both have is not copied.
    expect(result.bytesWritten + result.bytesZeroed).toBe(2 ** 18);
    expect(result.bytesZeroed).toBe(version === 3 ? 2 ** 18 : 0);
    await overlay.setBackingFile({ name: "longer", format: "raw", disk: backing });
    await overlay.close();
    const reopened = await Qcow2Image.open({ storage, references: referencesTo(backing) });
    const actual = new Uint8Array(2 ** 20);
    await reopened.read({ offset: 0, into: actual });
    expect(Buffer.compare(actual, expected)).toBe(0);
  },
);

it("copies nothing if the new backing file has the same content", async () => {
  const { overlay } = await smallChain();
  const backing = await rawDisk(3 * 2 ** 18);
  const result = await rebaseDisk({ overlay, backing });
  expect(result).toEqual({ bytesCompared: 11 * 2 ** 16, bytesWritten: 0, bytesZeroed: 0 });
});

it("copies what a shorter backing file does not have, also where its end looks the same", async () => {
  const { overlay } = await smallChain();
  const backing = await rawDisk(2 ** 19);
  const result = await rebaseDisk({ overlay, backing, parallel: 1, chunkBytes: 65536 });
  expect(result).toEqual({ bytesCompared: 11 * 2 ** 16, bytesWritten: 2 ** 18, bytesZeroed: 0 });
});

it("does not read what the new backing file shares with the chain", async () => {
  const { overlay, base } = await smallChain();
  const result = await rebaseDisk({ overlay, backing: base, sharedDepth: 1 });
  expect(result).toEqual({ bytesCompared: 0, bytesWritten: 0, bytesZeroed: 0 });
});

it("compresses what it copies, and tells how far it is", async () => {
  const { overlay, storage, base } = await smallChain();
  await overlay.close();
  const opened = await Qcow2Image.open({ storage, codecs, references: referencesTo(base) });
  const progress: number[] = [];
  const result = await rebaseDisk({
    overlay: opened,
    backing: undefined,
    compress: true,
    onProgress: (done, total) => progress.push(done / total),
  });
  expect(result.bytesWritten).toBe(11 * 2 ** 16);
  expect(progress.at(-1)).toBe(1);
  expect([...progress].sort((first, second) => first - second)).toEqual(progress);
  const compressed = new Set<number>();
  for await (const extent of opened.map()) if (extent.compressed) compressed.add(extent.offset);
  expect(compressed.size).toBeGreaterThan(0);
});

it("stops when it is told to, with the overlay as it read", async () => {
  const { overlay } = await smallChain();
  const expected = new Uint8Array(2 ** 20);
  await overlay.read({ offset: 0, into: expected });
  const controller = new AbortController();
  const reason = new Error("enough");
  const stopped = rebaseDisk({
    overlay,
    backing: undefined,
    parallel: 1,
    chunkBytes: 65536,
    signal: controller.signal,
    onProgress: (done) => done > 2 ** 18 && controller.abort(reason),
  });
  await expect(stopped).rejects.toBe(reason);
  const actual = new Uint8Array(2 ** 20);
  await overlay.read({ offset: 0, into: actual });
  expect(Buffer.compare(actual, expected)).toBe(0);
});
