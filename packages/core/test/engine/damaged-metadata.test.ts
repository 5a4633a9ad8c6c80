/** Writing to an image whose metadata is wrong: refused where it is met, and nothing is made worse. */
import { type CheckFinding, checkStorage, isQcow2Error, MemoryStorage, Qcow2Image } from "@qcow2/core";
import { WrappedStorage } from "@qcow2/testing";
import { expect, it } from "vitest";

const CLUSTER = 65536;

class KeptStorage extends WrappedStorage {
  override async close(): Promise<void> {}
}

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

it("does not put data where the header or a table is, whatever the refcounts say", async () => {
  for (const structure of ["header", "active L1 table", "refcount table"]) {
    const storage = await newImage();
    const at = {
      header: 0,
      "active L1 table": await uint64At(storage, 40),
      "refcount table": await uint64At(storage, 48),
    };
    const cluster = (at[structure as keyof typeof at] as number) / CLUSTER;
    const before = new Uint8Array(CLUSTER);
    await storage.read(cluster * CLUSTER, before);
    await storage.write(await refcountAt(storage, cluster), new Uint8Array(2));
    const image = await Qcow2Image.open({ storage: new KeptStorage(storage) });
    const writing = image.write({ offset: 32 * CLUSTER, from: new Uint8Array(CLUSTER).fill(9) });
    await expect(writing).rejects.toSatisfy((error) => isQcow2Error(error, "corrupt"));
    await image.close();
    const after = new Uint8Array(CLUSTER);
    await storage.read(cluster * CLUSTER, after);
    expect(Buffer.from(after).equals(before), structure).toBe(true);
  }
});

it("does not write over a table that an L2 entry points at", async () => {
  const storage = await newImage();
  const l1 = await uint64At(storage, 40);
  const l2 = await uint64At(storage, l1);
  const entry = new DataView(new ArrayBuffer(8));
  entry.setBigUint64(0, (1n << 63n) | BigInt(l1));
  await storage.write(l2, new Uint8Array(entry.buffer));
  const image = await Qcow2Image.open({ storage: new KeptStorage(storage) });
  const writing = image.write({ offset: 0, from: new Uint8Array(CLUSTER).fill(9) });
  await expect(writing).rejects.toSatisfy((error) => isQcow2Error(error, "corrupt"));
  await image.close();
  expect(await uint64At(storage, l1)).toBe(l2);
});

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
