/** Committing real images in memory. A failing run prints its seed; fast-check replays it. */
import { type Disk, MemoryStorage, Qcow2Image, RawDisk, type WritableDisk } from "@qcow2/core";
import { chainArbitrary, expectSameContent, MemoryDisk, modelOfChain } from "@qcow2/testing";
import fc from "fast-check";
import { expect, it } from "vitest";
import { commitDisk } from "../src/index.ts";
import { codecs, ReusableStorage, StoredChain } from "./stored-chain.ts";

const drawnChain = chainArbitrary({ compressionTypes: ["zlib"], maxOperations: 6 }).filter(
  ({ below }) => below.length > 0,
);

function layerAt(top: Disk, depth: number): WritableDisk {
  let layer: Disk | undefined = top;
  for (let left = depth; left > 0; left--) layer = (layer as Qcow2Image).backing;
  return layer as WritableDisk;
}

async function contentOf(disk: Disk): Promise<Uint8Array> {
  const bytes = new Uint8Array(disk.size);
  await disk.read({ offset: 0, into: bytes });
  return bytes;
}

async function expectClean(disk: Disk): Promise<void> {
  if (!(disk instanceof Qcow2Image)) return;
  expect(await disk.check()).toMatchObject({ corruptions: 0, leaks: 0, checkErrors: 0 });
}

it("makes any layer of any chain read as the top does, and keeps what lies behind its end", async () => {
  let cases = 0;
  await fc.assert(
    fc.asyncProperty(
      drawnChain,
      fc.nat(9),
      fc.integer({ min: 1, max: 9 }),
      async (drawn, which, parallel) => {
        const depth = 1 + (which % drawn.below.length);
        const chain = await StoredChain.build(drawn);
        const model = await modelOfChain(drawn);
        const before = await contentOf((await chain.open(depth))!);
        const overlay = (await chain.open(0, [0, depth])) as Qcow2Image;
        const expected = new Uint8Array(Math.max(before.length, overlay.size));
        expected.set(before);
        expected.set(await contentOf(overlay));
        await commitDisk({ overlay, base: layerAt(overlay, depth), depth, parallel, chunkBytes: 65536 });
        await expectSameContent(overlay, model);
        if (depth === 1) await overlay.makeEmpty();
        await expectSameContent(overlay, model);
        await overlay.close();

        const base = (await chain.open(depth))!;
        expect(Buffer.compare(await contentOf(base), expected)).toBe(0);
        await expectClean(base);
        const reopened = (await chain.open())!;
        await expectSameContent(reopened, model);
        await expectClean(reopened);
        if (depth === 1) {
          for await (const extent of reopened.map()) expect(extent.depth > 0 || !extent.present).toBe(true);
        }
        cases++;
      },
    ),
    { numRuns: 30 },
  );
  expect(cases).toBeGreaterThan(20);
}, 60_000);

/** 1 MiB over 512 KiB, with data at both ends of the overlay. */
async function smallChain(): Promise<{ overlay: Qcow2Image; base: RawDisk }> {
  const base = await RawDisk.open({ storage: new MemoryStorage(), size: 0 });
  await base.resize({ size: 2 ** 19 });
  const overlay = await Qcow2Image.create({
    storage: new ReusableStorage(),
    size: 2 ** 20,
    codecs,
    backingFile: { name: "base", format: "raw" },
    references: {
      openBackingFile: async () => base,
      openDataFile: async () => Promise.reject(new Error("there is none")),
    },
  });
  await overlay.write({ offset: 0, from: new Uint8Array(2 ** 17).fill(1) });
  await overlay.writeZeroes({ offset: 2 ** 18, length: 2 ** 16 });
  await overlay.write({ offset: 15 * 2 ** 16, from: new Uint8Array(2 ** 16).fill(2) });
  return { overlay, base };
}

it("copies only what the overlay defines, and tells how far it is", async () => {
  const { overlay, base } = await smallChain();
  const progress: (readonly [number, number])[] = [];
  const result = await commitDisk({ overlay, base, onProgress: (...step) => progress.push(step) });
  expect(result).toMatchObject({ bytesRead: 3 * 2 ** 16, bytesWritten: 3 * 2 ** 16, bytesZeroed: 2 ** 16 });
  expect(base.size).toBe(2 ** 20);
  expect(progress[0]).toEqual([0, 3 * 2 ** 16]);
  expect(progress.at(-1)).toEqual([3 * 2 ** 16, 3 * 2 ** 16]);
});

it("stops when it is told to, and can be done again", async () => {
  const { overlay, base } = await smallChain();
  const before = await contentOf(overlay);
  const controller = new AbortController();
  const reason = new Error("enough");
  const stopped = commitDisk({
    overlay,
    base,
    parallel: 1,
    chunkBytes: 65536,
    signal: controller.signal,
    onProgress: (done) => done > 0 && controller.abort(reason),
  });
  await expect(stopped).rejects.toBe(reason);
  expect(Buffer.compare(await contentOf(overlay), before)).toBe(0);
  await commitDisk({ overlay, base });
  await overlay.makeEmpty();
  expect(Buffer.compare(await contentOf(overlay), before)).toBe(0);
  expect(Buffer.compare(await contentOf(base), before)).toBe(0);
});

it("refuses a base that is too short and cannot grow, before anything is written", async () => {
  const { overlay } = await smallChain();
  const base = new MemoryDisk({ size: 2 ** 19 });
  await expect(commitDisk({ overlay, base })).rejects.toMatchObject({ code: "unsupported" });
  expect(base.operations.filter(({ kind }) => kind.startsWith("write"))).toEqual([]);
});
