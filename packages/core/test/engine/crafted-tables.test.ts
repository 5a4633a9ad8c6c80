/** Images of some hundred KiB whose tables name one place again and again: work is bounded by what is stored. */
import { checkStorage, MemoryStorage, Qcow2Image, repairStorage } from "@qcow2/core";
import { CountingStorage, KeptStorage } from "@qcow2/testing";
import { expect, it } from "vitest";

const CLUSTER = 65536;
const OFFSET_MASK = 0x00fffffffffffe00n;
const COPIED = 1n << 63n;

/** An image with data in clusters 0 and 1, and an empty table of so many clusters at its end. */
async function withTable(
  clusters: number,
  { hasBitmap = false }: { readonly hasBitmap?: boolean } = {},
): Promise<{ readonly bytes: Uint8Array; readonly view: DataView; readonly at: number }> {
  const storage = new MemoryStorage();
  const image = await Qcow2Image.create({ storage: new KeptStorage(storage), size: 64 * CLUSTER });
  await image.write({ offset: 0, from: new Uint8Array(2 * CLUSTER).fill(7) });
  if (hasBitmap) await image.changeBitmaps([{ kind: "add", name: "b", granularity: 512 }]);
  await image.close();
  const made = storage.toBytes();
  const at = Math.ceil(made.length / CLUSTER) * CLUSTER;
  const bytes = new Uint8Array(at + clusters * CLUSTER);
  bytes.set(made);
  return { bytes, view: new DataView(bytes.buffer), at };
}

/** Every entry of the L1 table names the one L2 table, in which every second entry is in use: 64 million extents. */
async function oneL2Table(): Promise<Uint8Array> {
  const { bytes, view, at } = await withTable(2);
  const entries = (2 * CLUSTER) / 8;
  const l1Entry = view.getBigUint64(Number(view.getBigUint64(40)));
  for (let index = 0; index < entries; index++) view.setBigUint64(at + index * 8, l1Entry);
  const l2 = Number(l1Entry & OFFSET_MASK);
  for (let index = 0; index < CLUSTER / 8; index += 2) {
    view.setBigUint64(l2 + index * 8, COPIED | BigInt(5 * CLUSTER));
  }
  view.setBigUint64(40, BigInt(at));
  view.setUint32(36, entries);
  view.setBigUint64(24, BigInt(entries) * BigInt((CLUSTER / 8) * CLUSTER));
  return bytes;
}

/** Every entry of the refcount table names the one block, in which nothing is free: a billion refcounts. */
async function oneRefcountBlock(): Promise<Uint8Array> {
  const { bytes, view, at } = await withTable(4);
  const block = view.getBigUint64(Number(view.getBigUint64(48)));
  for (let index = 0; index < (4 * CLUSTER) / 8; index++) view.setBigUint64(at + index * 8, block);
  bytes.fill(0xff, Number(block), Number(block) + CLUSTER);
  view.setBigUint64(48, BigInt(at));
  view.setUint32(56, 4);
  return bytes;
}

const CHANGES: Readonly<Record<string, (image: Qcow2Image) => Promise<unknown>>> = {
  write: (image) => image.write({ offset: 3 * CLUSTER, from: new Uint8Array(10) }),
  writeZeroes: (image) => image.writeZeroes({ offset: 0, length: image.size, unmap: true }),
  discard: (image) => image.discard({ offset: 0, length: image.size }),
  createSnapshot: (image) => image.createSnapshot({ name: "s" }),
  resize: (image) => image.resize({ size: image.size + CLUSTER }),
  amend: (image) => image.amend({ refcountBits: 64 }),
  makeEmpty: (image) => image.makeEmpty(),
};

it.each([
  ["L1 table", oneL2Table],
  ["Refcount table", oneRefcountBlock],
] as const)("of an %s are damage to whoever would follow all of it", async (structure, craft) => {
  const bytes = await craft();
  for (const [name, change] of Object.entries(CHANGES)) {
    const storage = new CountingStorage(new MemoryStorage({ bytes }));
    const image = await Qcow2Image.open({ storage });
    await expect(change(image), name).rejects.toMatchObject({ code: "corrupt", data: { structure } });
    await image.close();
    expect(storage.bytesRead, name).toBeLessThan(8 * bytes.length);
    expect(storage.bytesWritten, name).toBe(0);
  }
});

it("are not gone through by a map, and can be read", async () => {
  const image = await Qcow2Image.open({ storage: new MemoryStorage({ bytes: await oneL2Table() }) });
  const map = async (): Promise<void> => {
    for await (const _ of image.map()) expect.unreachable();
  };
  await expect(map()).rejects.toMatchObject({ code: "corrupt", data: { structure: "L1 table" } });
  await image.read({ offset: image.size - CLUSTER, into: new Uint8Array(CLUSTER) });
});

it("are checked and repaired in proportion to the file", async () => {
  for (const craft of [oneL2Table, oneRefcountBlock]) {
    const bytes = await craft();
    const storage = new CountingStorage(new MemoryStorage({ bytes }));
    await checkStorage(storage);
    expect(storage.bytesRead).toBeLessThan(16 * bytes.length);
    storage.reset();
    await repairStorage(storage, { what: "leaks" });
    expect(storage.bytesRead).toBeLessThan(32 * bytes.length);
  }
});

it("of a bitmap are damage", async () => {
  const { bytes, view, at } = await withTable(1, { hasBitmap: true });
  // The directory has one entry: offset and length of its table. One byte of disk for each bit makes a long one.
  const extension = Buffer.from(bytes.buffer).indexOf(Uint8Array.of(0x23, 0x85, 0x28, 0x75)) + 8;
  const directory = Number(view.getBigUint64(extension + 16));
  const entries = CLUSTER / 8;
  for (let index = 0; index < entries; index++) view.setBigUint64(at + index * 8, BigInt(3 * CLUSTER));
  view.setBigUint64(directory, BigInt(at));
  view.setUint32(directory + 8, entries);
  view.setBigUint64(24, BigInt(entries) * BigInt(CLUSTER * 8 * 512));
  // An L1 table that is as large as that disk needs lies behind it.
  const l1Entries = (entries * CLUSTER * 8 * 512) / ((CLUSTER / 8) * CLUSTER);
  const longer = new Uint8Array(bytes.length + Math.ceil((l1Entries * 8) / CLUSTER) * CLUSTER);
  longer.set(bytes);
  new DataView(longer.buffer).setBigUint64(40, BigInt(bytes.length));
  new DataView(longer.buffer).setUint32(36, l1Entries);
  const image = await Qcow2Image.open({ storage: new MemoryStorage({ bytes: longer }) });
  await expect(image.dirtyRanges("b")).rejects.toMatchObject({
    code: "corrupt",
    data: { structure: "Bitmap table" },
  });
});
