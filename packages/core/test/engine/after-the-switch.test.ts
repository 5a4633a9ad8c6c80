/** Once the header names new tables, nobody goes on with the old ones, whatever fails afterwards; what was known of the file stays known. */
import { isQcow2Error, MemoryStorage, Qcow2Error, Qcow2Image } from "@qcow2/core";
import { ENGINE_CODECS, KeptStorage, type StorageOperation } from "@qcow2/testing";
import { expect, it } from "vitest";

const CLUSTER = 4096;
const MIB = 2 ** 20;

/** Cannot be cut off as long as `isStiff`. */
class StiffStorage extends KeptStorage {
  isStiff = false;

  protected override async before({ kind }: StorageOperation): Promise<void> {
    if (kind !== "truncate" || !this.isStiff) return;
    throw new Qcow2Error("io", "cannot be cut off", { operation: "resize", name: this.name, errno: "EIO" });
  }
}

it.each([false, true])("a smaller disk whose data file cannot be cut off (raw: %s)", async (raw) => {
  const file = new MemoryStorage();
  const data = new StiffStorage(new MemoryStorage());
  const image = await Qcow2Image.create({
    storage: new KeptStorage(file),
    size: 8 * MIB,
    clusterSize: CLUSTER,
    dataFile: { name: "data", storage: data, raw },
  });
  for (const offset of [0, 2 * MIB, 3 * MIB]) {
    await image.write({ offset, from: new Uint8Array(16 * CLUSTER).fill(1) });
  }
  await image.flush();
  data.isStiff = true;
  await expect(image.resize({ size: 3 * MIB, shrink: true })).rejects.toSatisfy((error) =>
    isQcow2Error(error, "io"),
  );
  expect(image.size).toBe(3 * MIB);
  const from = new Uint8Array(CLUSTER).fill(7);
  await image.write({ offset: 2.5 * MIB, from });
  await image.close();
  const reopened = await Qcow2Image.open({
    storage: new KeptStorage(file),
    references: { openDataFile: async () => data, openBackingFile: () => expect.fail("there is none") },
  });
  const into = new Uint8Array(CLUSTER);
  await reopened.read({ offset: 2.5 * MIB, into });
  expect(into).toEqual(from);
  expect(await reopened.check()).toMatchObject({ corruptions: 0, leaks: 0 });
  // What the file still holds behind the end does not come back.
  data.isStiff = false;
  await reopened.resize({ size: 4 * MIB });
  await reopened.read({ offset: 3 * MIB, into });
  expect(into).toEqual(new Uint8Array(CLUSTER));
  await reopened.close();
});

it("a file of compressed data ends with a whole sector, also if its header was changed since", async () => {
  const file = new MemoryStorage();
  const image = await Qcow2Image.create({
    storage: new KeptStorage(file),
    size: MIB,
    clusterSize: CLUSTER,
    codecs: ENGINE_CODECS,
  });
  await image.writeCompressed({
    offset: 0,
    from: new Uint8Array(CLUSTER).map((_, index) => (index * index) >> 3),
  });
  await image.flush();
  expect((await file.size()) % 512).not.toBe(0);
  await image.amend({ lazyRefcounts: true });
  await image.close();
  expect((await file.size()) % 512).toBe(0);
});

it("the end of the file is given back, also if its header was changed since", async () => {
  const sizes: number[] = [];
  for (const changes of [false, true]) {
    const file = new MemoryStorage();
    const storage = new KeptStorage(file);
    const image = await Qcow2Image.create({ storage, size: MIB, clusterSize: CLUSTER });
    await image.write({ offset: 0, from: new Uint8Array(MIB).fill(1) });
    await image.close();
    const reopened = await Qcow2Image.open({ storage, discard: "unmap" });
    await reopened.discard({ offset: 0, length: MIB });
    await reopened.flush();
    if (changes) await reopened.amend({ lazyRefcounts: true });
    await reopened.close();
    sizes.push(await file.size());
  }
  expect(sizes[1]).toBe(sizes[0]);
  expect(sizes[1]).toBeLessThan(MIB / 4);
});
