/** Host clusters that compressed data takes, and gives back. */
import { checkStorage, isQcow2Error, MemoryStorage, Qcow2Error, Qcow2Image } from "@qcow2/core";
import { ENGINE_CODECS, KeptStorage } from "@qcow2/testing";
import { expect, it } from "vitest";

const CLUSTER = 512;
const CLUSTERS = 400;

/** Clusters of which no two are alike, and that become smaller by a third. */
function compressible(): Uint8Array {
  const bytes = new Uint8Array(CLUSTERS * CLUSTER);
  for (let at = 0, state = 1; at < bytes.length; at++) {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    if (at % CLUSTER < 340) bytes[at] = state >>> 16;
  }
  return bytes;
}

// Of 64 bits, 64 refcounts are in a block. In an image that was allocated as a whole the blocks lie side by side, so that
// compressed data can lie in two clusters that different ones count.
it.each([
  { refcountBits: 1, preallocation: "off" },
  { refcountBits: 16, preallocation: "off" },
  { refcountBits: 64, preallocation: "metadata" },
] as const)("all of them, %j", async (options) => {
  const size = CLUSTERS * CLUSTER;
  const storage = new MemoryStorage();
  const image = await Qcow2Image.create({
    storage,
    size,
    clusterSize: CLUSTER,
    codecs: ENGINE_CODECS,
    ...options,
  });
  await image.discard({ offset: 0, length: size });
  await image.flush();
  const from = compressible();
  await image.writeCompressed({ offset: 0, from });
  await image.flush();
  expect(await image.check()).toMatchObject({ corruptions: 0, leaks: 0, compressedClusters: CLUSTERS });
  const into = new Uint8Array(size);
  await image.read({ offset: 0, into });
  expect(Buffer.from(into).equals(from)).toBe(true);
  await image.discard({ offset: 0, length: size });
  await image.flush();
  expect(await image.check()).toMatchObject({ corruptions: 0, leaks: 0, compressedClusters: 0 });
  await image.close();
});

it("nothing of a compressed cluster that the disk ends in, once it is zeroed", async () => {
  const clusterSize = 16_384;
  const half = clusterSize / 2;
  const storage = new MemoryStorage();
  const size = clusterSize + half;
  const image = await Qcow2Image.create({
    storage,
    size,
    clusterSize,
    extendedL2: true,
    codecs: ENGINE_CODECS,
  });
  await image.writeCompressed({ offset: clusterSize, from: new Uint8Array(half).fill(1) });
  await image.writeZeroes({ offset: clusterSize, length: half });
  await image.flush();
  expect(await image.check()).toMatchObject({ corruptions: 0, leaks: 0, compressedClusters: 0 });
  await image.resize({ size: 2 * clusterSize });
  const into = new Uint8Array(clusterSize).fill(9);
  await image.read({ offset: clusterSize, into });
  expect(into.every((byte) => byte === 0)).toBe(true);
  await image.close();
});

it.each([1, 2, 7])(
  "what was placed for %d clusters that could not be written is free again",
  async (count) => {
    const kept = new MemoryStorage();
    const storage = new WritesThatFail(kept);
    const size = CLUSTERS * CLUSTER;
    const image = await Qcow2Image.create({ storage, size, clusterSize: CLUSTER, codecs: ENGINE_CODECS });
    // Room within the file: refcounts behind its end would be nobody's concern.
    const half = size / 2;
    await image.write({ offset: half, from: new Uint8Array(half).fill(1) });
    await image.discard({ offset: half, length: half - CLUSTER });
    await image.flush();
    // One cluster of data before, so that the next ends in another host cluster than it begins in.
    await image.writeCompressed({ offset: 0, from: compressible().subarray(0, CLUSTER) });
    storage.fails = true;
    const write = image.writeCompressed({
      offset: CLUSTER,
      from: compressible().subarray(CLUSTER, (1 + count) * CLUSTER),
    });
    await expect(write).rejects.toSatisfy((error) => isQcow2Error(error, "io"));
    storage.fails = false;
    await image.close();
    expect(await checkStorage(kept)).toMatchObject({ corruptions: 0, leaks: 0, compressedClusters: 1 });
  },
);

/** Writes fail on demand, as on a full device. */
class WritesThatFail extends KeptStorage {
  fails = false;

  override async write(offset: number, from: Uint8Array): Promise<void> {
    if (!this.fails) return await super.write(offset, from);
    throw new Qcow2Error("io", "Could not write to 'memory': No space left on device", {
      operation: "write to",
      name: "memory",
      errno: "ENOSPC",
    });
  }
}
