/** Writing to an image whose metadata is wrong: refused where it is met, and nothing is made worse. */
import { type CheckFinding, checkStorage, isQcow2Error, MemoryStorage, Qcow2Image } from "@qcow2/core";
import { KeptStorage } from "@qcow2/testing";
import { expect, it } from "vitest";

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
