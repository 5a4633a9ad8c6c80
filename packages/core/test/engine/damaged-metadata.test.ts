/** Writing to an image whose metadata is wrong: refused where it is met, and nothing is made worse. */
import { type CheckFinding, checkStorage, isQcow2Error, MemoryStorage, Qcow2Image } from "@qcow2/core";
import { ENGINE_CODECS, KeptStorage } from "@qcow2/testing";
import { describe, expect, it } from "vitest";

const CLUSTER = 65536;

/** An image with clusters 0..3 written, in host order after the tables. */
async function newImage(): Promise<MemoryStorage> {
  const storage = new MemoryStorage();
  const image = await Qcow2Image.create({ storage: new KeptStorage(storage), size: 64 * CLUSTER });
  await image.write({ offset: 0, from: new Uint8Array(4 * CLUSTER).fill(1) });
  await image.close();
  return storage;
}

async function uint64At(storage: MemoryStorage, offset: number): Promise<number> {
  const bytes = new Uint8Array(8);
  await storage.read(offset, bytes);
  return Number(new DataView(bytes.buffer).getBigUint64(0) & 0x00ffffffffffffffn);
}

async function refcountAt(storage: MemoryStorage, cluster: number): Promise<number> {
  const block = await uint64At(storage, await uint64At(storage, 48));
  return block + cluster * 2;
}

async function corruptionsOf(storage: MemoryStorage): Promise<CheckFinding[]> {
  const findings: CheckFinding[] = [];
  await checkStorage(storage, { onFinding: (finding) => findings.push(finding) });
  return findings.filter(({ severity }) => severity === "corruption");
}

it("keeps what it zeroed before it met a damaged L2 entry", async () => {
  const storage = await newImage();
  const l2 = await uint64At(storage, await uint64At(storage, 40));
  // The entry of cluster 2: an offset that no file reaches.
  await storage.write(l2 + 16, Uint8Array.of(0x80, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0));
  const image = await Qcow2Image.open({ storage: new KeptStorage(storage) });
  const zeroing = image.writeZeroes({ offset: 0, length: 4 * CLUSTER, unmap: true });
  await expect(zeroing).rejects.toSatisfy((error) => isQcow2Error(error, "corrupt"));
  await image.close();
  // Clusters 0 and 1 were given up, and nothing refers to them any more.
  expect((await corruptionsOf(storage)).map(({ code }) => code)).not.toContain("refcount-too-low");
});

it("reports a cluster that is in use without being counted once, and gives up the others", async () => {
  const storage = await newImage();
  const l2 = await uint64At(storage, await uint64At(storage, 40));
  const first = (await uint64At(storage, l2)) / CLUSTER;
  await storage.write(await refcountAt(storage, first + 1), new Uint8Array(2));
  const image = await Qcow2Image.open({ storage: new KeptStorage(storage) });
  await image.writeZeroes({ offset: 0, length: 4 * CLUSTER, unmap: true });
  await expect(image.flush()).rejects.toSatisfy((error) => isQcow2Error(error, "corrupt"));
  await image.flush();
  await image.close();
  expect(await checkStorage(storage)).toMatchObject({ corruptions: 0, leaks: 0, checkErrors: 0 });
});

/** The change meets the damage: it is refused, the file does not grow, and the image is marked. */
async function expectRefused(
  storage: MemoryStorage,
  change: (image: Qcow2Image) => Promise<void>,
): Promise<void> {
  const size = await storage.size();
  const image = await Qcow2Image.open({ storage: new KeptStorage(storage), codecs: ENGINE_CODECS });
  await expect(change(image)).rejects.toSatisfy((error) => isQcow2Error(error, "corrupt"));
  await image.close();
  expect(await storage.size()).toBe(size);
  const features = new Uint8Array(80);
  await storage.read(0, features);
  expect((features[79] as number) & 2).toBe(2);
}

const BEYOND = 2 ** 37;
const CHANGES: Readonly<Record<string, (image: Qcow2Image) => Promise<void>>> = {
  "a write": (image) => image.write({ offset: 2 * CLUSTER, from: new Uint8Array(CLUSTER) }),
  "a write to a part of it": (image) => image.write({ offset: 2 * CLUSTER + 512, from: new Uint8Array(512) }),
  "a write after others": async (image) => {
    // The table is resident then, and the write takes the short cut.
    await image.write({ offset: 0, from: new Uint8Array(CLUSTER) });
    await image.write({ offset: 2 * CLUSTER, from: new Uint8Array(CLUSTER) });
  },
  "a write that begins before it": (image) => image.write({ offset: 0, from: new Uint8Array(4 * CLUSTER) }),
  zeroes: (image) => image.writeZeroes({ offset: 0, length: 4 * CLUSTER }),
  "zeroes that give it up": (image) => image.writeZeroes({ offset: 0, length: 4 * CLUSTER, unmap: true }),
  "a discard": (image) => image.discard({ offset: 2 * CLUSTER, length: CLUSTER }),
  "a compressed write": (image) =>
    image.writeCompressed({ offset: 2 * CLUSTER, from: new Uint8Array(CLUSTER) }),
};

describe.each(Object.entries(CHANGES))(
  "%s through an entry that leads beyond the end of the file",
  (_, change) => {
    it.each([
      ["as the disk's own", 0x80, 0],
      ["as a shared one", 0, 0],
      ["as compressed data", 0x40, 1],
    ])("is refused, %s", async (_name, flags, at) => {
      const storage = await newImage();
      const l2 = await uint64At(storage, await uint64At(storage, 40));
      const entry = new Uint8Array(8);
      new DataView(entry.buffer).setBigUint64(0, BigInt(BEYOND + at));
      entry[0] = flags;
      await storage.write(l2 + 16, entry);
      await expectRefused(storage, change);
    });

    it("is refused, also where the L2 table is said to be there", async () => {
      const storage = await newImage();
      const entry = new Uint8Array(8);
      new DataView(entry.buffer).setBigUint64(0, BigInt(BEYOND) | (1n << 63n));
      await storage.write(await uint64At(storage, 40), entry);
      await expectRefused(storage, change);
    });
  },
);

it("writes to clusters that refcounts know of, although the file ends before them", async () => {
  const storage = new MemoryStorage();
  const size = 64 * CLUSTER;
  let image = await Qcow2Image.create({
    storage: new KeptStorage(storage),
    size,
    preallocation: "metadata",
  });
  const { value: first } = await image.map().next();
  const hostOffset = first?.hostOffset as number;
  await image.close();
  await storage.truncate(hostOffset);
  image = await Qcow2Image.open({ storage: new KeptStorage(storage) });
  for (const cluster of [50, 20, 63, 0]) {
    await image.write({ offset: cluster * CLUSTER, from: new Uint8Array(CLUSTER).fill(cluster) });
  }
  await image.close();
  expect(await storage.size()).toBe(hostOffset + size);
  expect(await checkStorage(storage)).toMatchObject({ corruptions: 0, leaks: 0 });
});
