/** After a flush the file is complete: nothing waits in memory for the image to be closed. */
import { deflateRawSync, inflateRawSync } from "node:zlib";
import { type CheckFinding, type Codecs, checkStorage, MemoryStorage, Qcow2Image } from "@qcow2/core";
import { content } from "@qcow2/testing";
import { expect, it } from "vitest";

const codecs: Codecs = {
  zlib: {
    decompress: (input, length) => inflateRawSync(input, { maxOutputLength: length }),
    compress: (input) => deflateRawSync(input, { windowBits: 12, level: 1 }),
  },
};

const CLUSTER = 4096;

async function findingsOf(storage: MemoryStorage): Promise<string[]> {
  const findings: CheckFinding[] = [];
  await checkStorage(storage, { onFinding: (finding) => findings.push(finding) });
  return findings.map(({ message }) => message);
}

it("leaves no leak where compressed clusters and others alternate", async () => {
  const storage = new MemoryStorage();
  const image = await Qcow2Image.create({ storage, size: 200 * CLUSTER, clusterSize: CLUSTER, codecs });
  const writes: Promise<void>[] = [];
  for (let index = 0; index < 200; index++) {
    // Random data does not shrink and gets a cluster of its own, which the next compressed one cannot run into.
    const kind = index % 3 === 2 ? "random" : "mixed";
    const from = content({ kind, length: CLUSTER, seed: index, offset: index * CLUSTER });
    writes.push(image.writeCompressed({ offset: index * CLUSTER, from }));
  }
  await Promise.all(writes);
  await image.flush();
  expect(await findingsOf(storage)).toEqual([]);
});

it("counts clusters as free that were given up before it", async () => {
  const storage = new MemoryStorage();
  const image = await Qcow2Image.create({ storage, size: 64 * CLUSTER, clusterSize: CLUSTER, codecs });
  await image.write({
    offset: 0,
    from: content({ kind: "random", length: 64 * CLUSTER, seed: 1, offset: 0 }),
  });
  await image.writeZeroes({ offset: 0, length: 64 * CLUSTER, unmap: true });
  await image.flush();
  expect(await findingsOf(storage)).toEqual([]);
});

it("ends the file with a whole sector when the image is closed after compressed writes", async () => {
  const storage = new MemoryStorage();
  const image = await Qcow2Image.create({ storage, size: 8 * CLUSTER, clusterSize: CLUSTER, codecs });
  await image.writeCompressed({ offset: 0, from: content({ kind: "text", length: CLUSTER, seed: 3 }) });
  await image.close();
  expect(storage.toBytes().length % 512).toBe(0);
});
