import { inspectHeader, MemoryStorage, Qcow2Image, type Storage } from "@qcow2/core";
import { CountingStorage, ENGINE_SHAPES } from "@qcow2/testing";
import { describe, expect, it } from "vitest";

const CLUSTER = 65536;

/** An image of 64 MiB with one cluster of data, a snapshot and a bitmap, that stays readable after closing. */
async function newImage(): Promise<MemoryStorage> {
  const storage = new MemoryStorage();
  const image = await Qcow2Image.create({ storage, size: 64 * 2 ** 20 });
  await image.write({ offset: 0, from: new Uint8Array(CLUSTER).fill(1) });
  await image.createSnapshot({ name: "first" });
  await image.changeBitmaps([{ kind: "add", name: "changes" }]);
  await image.flush();
  return storage;
}

async function patched(storage: Storage, offset: number, ...bytes: number[]): Promise<Storage> {
  await storage.write(offset, Uint8Array.from(bytes));
  return storage;
}

async function offsetAt(storage: Storage, at: number): Promise<number> {
  const bytes = new Uint8Array(8);
  await storage.read(at, bytes);
  return Number(new DataView(bytes.buffer).getBigUint64(0));
}

describe("inspectHeader", () => {
  it("says what opening says, without reading the tables", async () => {
    const storage = await newImage();
    const image = await Qcow2Image.open({ storage, readOnly: true, metadataOnly: true });
    const { snapshots, bitmaps, ...properties } = image.info();
    const counting = new CountingStorage(storage);
    expect(await inspectHeader(counting)).toEqual({
      info: { ...properties, snapshotCount: snapshots.length, bitmapCount: bitmaps.length },
      error: undefined,
    });
    expect([snapshots.length, bitmaps.length]).toEqual([1, 1]);
    // The start of the header, the first cluster, and the L1 table.
    expect(counting.count("read")).toBe(3);
  });

  it.each(ENGINE_SHAPES.map((shape) => ({ name: shape.name, shape })))(
    "finds nothing wrong with $name",
    async ({ shape }) => {
      const { files } = await shape.build();
      const { error, info } = await inspectHeader(files.image);
      expect(error).toBeUndefined();
      expect(info?.virtualSize).toBe(shape.size);
    },
  );

  it.each([
    { what: "refcount table", at: 48, structure: "Reference count table" },
    { what: "L1 table", at: 40, structure: "Active L1 table" },
    { what: "snapshot table", at: 64, structure: "snapshot table" },
  ])(
    "finds a $what beyond the end of the file, and still says what the image is",
    async ({ at, structure }) => {
      const storage = await patched(await newImage(), at, 0, 0, 1, 0, 0, 0, 0, 0);
      const { info, error } = await inspectHeader(storage);
      expect(error).toMatchObject({ code: "truncated", data: { structure } });
      expect(info).toMatchObject({ virtualSize: 64 * 2 ** 20, snapshotCount: 1 });
    },
  );

  it("finds that a file was cut off, by an L2 table that is not there", async () => {
    const storage = await newImage();
    const l1Table = await offsetAt(storage, 40);
    const l2Table = (await offsetAt(storage, l1Table)) % 2 ** 56;
    // Opening does not notice: it looks no further than the L1 table.
    await patched(storage, l1Table + 2, 0x7f);
    expect((await inspectHeader(storage)).error).toMatchObject({
      code: "truncated",
      data: { structure: "L2 table", offset: 0x7f * 2 ** 40 + l2Table },
    });
  });

  it("says what is wrong with a header that makes no sense", async () => {
    const noImage = new MemoryStorage({
      bytes: new TextEncoder().encode("QFI and other words".padEnd(4096)),
    });
    expect(await inspectHeader(noImage)).toMatchObject({ info: undefined, error: { code: "not-qcow2" } });
    const short = new MemoryStorage({ bytes: Uint8Array.of(0x51, 0x46, 0x49, 0xfb, 0, 0, 0, 3) });
    expect(await inspectHeader(short)).toMatchObject({ info: undefined, error: { code: "truncated" } });
    const unknown = await patched(await newImage(), 72, 0, 0, 1);
    expect(await inspectHeader(unknown)).toMatchObject({
      info: undefined,
      error: { code: "unsupported-feature" },
    });
  });

  it("reports the marks of images that were not closed or found to be damaged, and encryption", async () => {
    const dirty = await patched(await newImage(), 79, 1);
    expect(await inspectHeader(dirty)).toMatchObject({
      info: { dirty: true, corrupt: false },
      error: undefined,
    });
    const corrupt = await patched(await newImage(), 79, 2);
    expect(await inspectHeader(corrupt)).toMatchObject({ info: { dirty: false, corrupt: true } });
    const encrypted = await patched(await newImage(), 35, 1);
    expect(await inspectHeader(encrypted)).toMatchObject({ info: { encryption: "aes" }, error: undefined });
  });
});
