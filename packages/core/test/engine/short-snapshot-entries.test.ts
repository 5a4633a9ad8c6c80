/**
 * Snapshots as old programs left them in images that became version 3: entries that do not say their disk's size. Every
 * change of the metadata completes them, and none takes them for damage.
 */
import { checkStorage, MemoryStorage, Qcow2Image, repairStorage } from "@qcow2/core";
import { expect, it } from "vitest";
import { readSnapshotTable } from "../../src/engine/read-snapshot-table.ts";
import { encodeSnapshotTable } from "../../src/format/snapshot-table.ts";

const SIZE = 2 ** 20;

/** Two snapshots, of ones and of twos, whose entries have 8 bytes of extra data. */
async function shortened({ l1Size }: { readonly l1Size?: number } = {}): Promise<MemoryStorage> {
  const made = new MemoryStorage();
  {
    await using image = await Qcow2Image.create({ storage: made, size: SIZE });
    for (const fill of [1, 2]) {
      await image.write({ offset: 0, from: new Uint8Array(512).fill(fill) });
      await image.createSnapshot({ name: `of ${fill}` });
    }
  }
  const storage = new MemoryStorage({ bytes: made.toBytes() });
  const header = new DataView(made.toBytes().buffer);
  const offset = header.getBigUint64(64);
  const { entries } = await readSnapshotTable(storage, offset, header.getUint32(60));
  const short = entries.map((entry) => ({
    ...entry,
    l1Size: l1Size ?? entry.l1Size,
    diskSize: undefined,
    icount: undefined,
  }));
  await storage.write(Number(offset), encodeSnapshotTable(short));
  expect((await checkStorage(storage)).corruptions).toBe(2);
  return storage;
}

const CHANGES: Readonly<Record<string, (image: Qcow2Image) => Promise<unknown>>> = {
  "taking a snapshot": (image) => image.createSnapshot({ name: "third" }),
  "applying one": (image) => image.applySnapshot("of 1"),
  "deleting one": (image) => image.deleteSnapshot("of 1"),
  "another size": (image) => image.resize({ size: 2 * SIZE }),
  "a bitmap": (image) => image.changeBitmaps([{ kind: "add", name: "bitmap" }]),
  "wider refcounts": (image) => image.amend({ refcountBits: 64 }),
};

it.each(Object.keys(CHANGES))("%s completes them", async (name) => {
  const storage = await shortened();
  {
    await using image = await Qcow2Image.open({ storage });
    await CHANGES[name]?.(image);
    for (const { diskSize } of image.info().snapshots) expect(diskSize).toBe(SIZE);
  }
  const after = new MemoryStorage({ bytes: storage.toBytes() });
  expect(await checkStorage(after)).toMatchObject({ corruptions: 0, leaks: 0, checkErrors: 0 });
  await using snapshot = await Qcow2Image.open({ storage: after, readOnly: true, snapshot: "of 2" });
  const sector = new Uint8Array(512);
  await snapshot.read({ offset: 0, into: sector });
  expect([sector[0], snapshot.size]).toEqual([2, SIZE]);
});

it("where the L1 table is too small for the disk, they could not be read any more, and stay as they are", async () => {
  const isRead = async (bytes: Uint8Array): Promise<void> => {
    const storage = new MemoryStorage({ bytes });
    await using snapshot = await Qcow2Image.open({ storage, readOnly: true, snapshot: "of 2" });
    await snapshot.read({ offset: 0, into: new Uint8Array(512) });
  };
  const storage = await shortened({ l1Size: 0 });
  await isRead(storage.toBytes());
  const { left, after } = await repairStorage(storage, { what: "all" });
  expect(left.map(({ kind }) => kind)).toEqual(["snapshot", "snapshot"]);
  expect(after.corruptions).toBeGreaterThan(0);
  await isRead(storage.toBytes());
  await using image = await Qcow2Image.open({ storage });
  await expect(image.createSnapshot({ name: "third" })).rejects.toMatchObject({ code: "needs-repair" });
});

it("a change of the header alone leaves them as they are", async () => {
  const storage = await shortened();
  {
    await using image = await Qcow2Image.open({ storage, metadataOnly: true, readOnly: false });
    await image.setBackingFile({ name: "base", format: "raw" });
  }
  expect((await checkStorage(new MemoryStorage({ bytes: storage.toBytes() }))).corruptions).toBe(2);
});
