/** Repairs of images whose guest data lies in another file, where offset 0 is a place like any other. */
import { checkStorage, MemoryStorage, Qcow2Image, type References, repairStorage } from "@qcow2/core";
import { KeptStorage } from "@qcow2/testing";
import { expect, it } from "vitest";

const CLUSTER = 16384;
const SUBCLUSTER = CLUSTER / 32;
const SIZE = 8 * CLUSTER;
const RESERVED_BIT_BYTE = 7;

it("keeps the subclusters of the data file's first cluster", async () => {
  const [storage, dataStorage] = [new MemoryStorage(), new MemoryStorage()];
  const references: References = {
    openBackingFile: () => expect.fail("there is none"),
    openDataFile: async () => new KeptStorage(dataStorage),
  };
  const created = await Qcow2Image.create({
    storage: new KeptStorage(storage),
    size: SIZE,
    clusterSize: CLUSTER,
    extendedL2: true,
    dataFile: { name: "data", storage: new KeptStorage(dataStorage) },
    references,
  });
  await created.write({ offset: 0, from: new Uint8Array(2 * SUBCLUSTER).fill(1) });
  await created.close();
  const l2 = await l2TableIn(storage);
  const low = new Uint8Array(1);
  await storage.read(l2 + RESERVED_BIT_BYTE, low);
  await storage.write(l2 + RESERVED_BIT_BYTE, Uint8Array.of((low[0] as number) | 4));
  expect((await checkStorage(storage)).corruptions).toBeGreaterThan(0);
  await repairStorage(new KeptStorage(storage), { what: "all" });
  await using image = await Qcow2Image.open({ storage: new KeptStorage(storage), references });
  expect(await image.check()).toMatchObject({ corruptions: 0, leaks: 0, checkErrors: 0 });
  const into = new Uint8Array(SIZE).fill(9);
  await image.read({ offset: 0, into });
  expect(into.subarray(0, 2 * SUBCLUSTER).every((byte) => byte === 1)).toBe(true);
  expect(into.subarray(2 * SUBCLUSTER).every((byte) => byte === 0)).toBe(true);
});

/** Host offset of the first L2 table. */
async function l2TableIn(storage: MemoryStorage): Promise<number> {
  const l1 = await uint64At(storage, 40);
  return await uint64At(storage, l1);
}

async function uint64At(storage: MemoryStorage, at: number): Promise<number> {
  const bytes = new Uint8Array(8);
  await storage.read(at, bytes);
  return Number(new DataView(bytes.buffer).getBigUint64(0) & 0x00ff_ffff_ffff_fe00n);
}
