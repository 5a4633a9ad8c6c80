/** Host clusters that compressed data takes, and gives back. */
import { deflateRawSync, inflateRawSync } from "node:zlib";
import { type Codecs, MemoryStorage, Qcow2Image } from "@qcow2/core";
import { expect, it } from "vitest";

const CLUSTER = 512;
const CLUSTERS = 400;

const codecs: Codecs = {
  zlib: {
    decompress: (input, length) => inflateRawSync(input, { maxOutputLength: length }),
    compress: (input) => deflateRawSync(input, { windowBits: 12, level: 1 }),
  },
};

/** Clusters of which no two are alike, and that become smaller by a third. */
function compressible(): Uint8Array {
  const bytes = new Uint8Array(CLUSTERS * CLUSTER);
  for (let at = 0, state = 1; at < bytes.length; at++) {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    if (at % CLUSTER < 340) bytes[at] = state >>> 16;
  }
  return bytes;
}

// 64 refcounts are in a block, so that some of the data lies in clusters that two of them count.
it.each([1, 16, 64])("all of them, with refcounts of %d bits", async (refcountBits) => {
  const image = await Qcow2Image.create({
    storage: new MemoryStorage(),
    size: CLUSTERS * CLUSTER,
    clusterSize: CLUSTER,
    refcountBits,
    codecs,
  });
  const from = compressible();
  await image.writeCompressed({ offset: 0, from });
  await image.flush();
  expect(await image.check()).toMatchObject({ corruptions: 0, leaks: 0, compressedClusters: CLUSTERS });
  const into = new Uint8Array(from.length);
  await image.read({ offset: 0, into });
  expect(Buffer.from(into).equals(from)).toBe(true);
  await image.discard({ offset: 0, length: from.length });
  await image.flush();
  expect(await image.check()).toMatchObject({ corruptions: 0, leaks: 0, compressedClusters: 0 });
  await image.close();
});
