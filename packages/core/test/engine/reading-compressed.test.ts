/** Reads of many compressed clusters, wherever they are stored. */
import {
  type ClusterCodec,
  type Codecs,
  type Extent,
  MemoryStorage,
  Qcow2Error,
  Qcow2Image,
} from "@qcow2/core";
import { CountingStorage, content, ENGINE_CODECS, KeptStorage, WrappedStorage } from "@qcow2/testing";
import { expectBytes } from "@qcow2/testing/suites";
import { describe, expect, it } from "vitest";

const CLUSTER = 16384;
const COUNT = 64;
const SIZE: number = COUNT * CLUSTER;

const clusterAt = (index: number): Uint8Array =>
  content({ kind: "text", length: CLUSTER, seed: 3, offset: index * CLUSTER });

/** Every index once, none beside its neighbours. */
const SCATTERED: readonly number[] = Array.from({ length: COUNT }, (_, index) => (index * 27) % COUNT);
/** As several threads leave them: a few places off. */
const NEARLY_IN_ORDER: readonly number[] = SCATTERED.map((_, index) => index ^ 3);

interface Written {
  readonly storage: KeptStorage;
  readonly bytes: Uint8Array;
}

/** An image of compressed clusters, stored in the order of `indexes`, `apart` host bytes lying between any two. */
async function write(indexes: readonly number[], apart = 0): Promise<Written> {
  const storage = new KeptStorage(new MemoryStorage());
  const bytes = new Uint8Array(SIZE);
  await using image = await Qcow2Image.create({
    storage,
    size: SIZE + COUNT * apart,
    clusterSize: CLUSTER,
    codecs: ENGINE_CODECS,
  });
  let behind = SIZE;
  for (const index of indexes) {
    bytes.set(clusterAt(index), index * CLUSTER);
    await image.writeCompressed({ offset: index * CLUSTER, from: clusterAt(index) });
    if (apart > 0) await image.write({ offset: behind, from: new Uint8Array(apart).fill(1) });
    behind += apart;
  }
  return { storage, bytes };
}

/** Reads the first {@link SIZE} bytes; answers with the clusters of each batch that the codec was given. */
async function readAll({
  storage,
  bytes,
}: Written): Promise<{ batches: number[]; counted: CountingStorage }> {
  const batches: number[] = [];
  const counted = new CountingStorage(storage);
  await using image = await Qcow2Image.open({ storage: counted, codecs: countingBatches(batches) });
  const into = new Uint8Array(SIZE).fill(0xee);
  // The tables are in memory then.
  await image.read({ offset: 0, into: into.subarray(0, 1) });
  counted.reset();
  await image.read({ offset: 0, into });
  expectBytes(into, bytes);
  return { batches, counted };
}

function countingBatches(batches: number[]): Codecs {
  const zlib = ENGINE_CODECS.zlib as ClusterCodec;
  return {
    zlib: {
      decompress: zlib.decompress,
      decompressAll: async (inputLength, fill, clusters) => {
        batches.push(clusters.length);
        await zlib.decompressAll?.(inputLength, fill, clusters);
      },
    },
  };
}

describe("compressed clusters of one read are decompressed together, and read with few requests", () => {
  it("in the order of the disk", async () => {
    const { batches, counted } = await readAll(await write([...SCATTERED].sort((a, b) => a - b)));
    expect(batches).toEqual([COUNT]);
    expect(counted.count("read")).toBe(1);
  });

  it.each([
    ["a few places off", NEARLY_IN_ORDER],
    ["in any order", SCATTERED],
  ])("%s", async (_, indexes) => {
    const { batches, counted } = await readAll(await write(indexes));
    expect(batches).toEqual([COUNT]);
    expect(counted.count("read")).toBe(1);
  });

  it("far apart, with a request for each place", async () => {
    const { batches, counted } = await readAll(await write(SCATTERED, 8 * CLUSTER));
    expect(batches).toEqual([COUNT]);
    expect(counted.count("read")).toBeGreaterThan(1);
    expect(counted.bytesRead).toBeLessThan(SIZE);
  });

  it("with others between them, which are read by themselves", async () => {
    const written = await write(NEARLY_IN_ORDER);
    const plain = content({ kind: "random", length: CLUSTER, seed: 9, offset: 0 });
    await using image = await Qcow2Image.open({
      storage: written.storage,
      readOnly: false,
      codecs: ENGINE_CODECS,
    });
    for (const index of [0, 17, COUNT - 1]) {
      await image.write({ offset: index * CLUSTER, from: plain });
      written.bytes.set(plain, index * CLUSTER);
    }
    await image.writeZeroes({ offset: 30 * CLUSTER, length: 2 * CLUSTER });
    written.bytes.fill(0, 30 * CLUSTER, 32 * CLUSTER);
    await image.close();
    const { batches } = await readAll(written);
    expect(batches).toEqual([COUNT - 5]);
  });
});

it("reads no batch of more host bytes than 2 MiB", async () => {
  const clusterSize = 2 ** 20;
  const storage = new KeptStorage(new MemoryStorage());
  const bytes = content({ kind: "mixed", length: 16 * clusterSize, seed: 5, offset: 0 });
  const create = { storage, size: bytes.length, clusterSize, codecs: ENGINE_CODECS };
  await using image = await Qcow2Image.create(create);
  for (const index of [3, 0, 2, 1, 7, 6, 5, 4, 15, 9, 8, 12, 10, 11, 13, 14]) {
    const offset = index * clusterSize;
    await image.writeCompressed({ offset, from: bytes.subarray(offset, offset + clusterSize) });
  }
  await image.close();
  const lengths: number[] = [];
  const zlib = ENGINE_CODECS.zlib as ClusterCodec;
  const decompressAll: ClusterCodec["decompressAll"] = async (inputLength, ...rest) => {
    lengths.push(inputLength);
    await zlib.decompressAll?.(inputLength, ...rest);
  };
  await using again = await Qcow2Image.open({ storage, codecs: { zlib: { ...zlib, decompressAll } } });
  const into = new Uint8Array(bytes.length);
  await again.read({ offset: 0, into });
  expectBytes(into, bytes);
  expect(lengths.length).toBeGreaterThan(1);
  expect(Math.max(...lengths)).toBeLessThanOrEqual(2 ** 21);
});

/** The most reads that were under way at one time. */
class MostReads extends WrappedStorage {
  most = 0;
  #running = 0;

  override async read(offset: number, into: Uint8Array): Promise<number> {
    this.most = Math.max(this.most, ++this.#running);
    try {
      return await super.read(offset, into);
    } finally {
      this.#running--;
    }
  }
}

it("has no more than 16 requests under way, in however many batches and places", async () => {
  const clusterSize = 65536;
  const count = 160;
  const [size, apart] = [count * clusterSize, 2 * clusterSize];
  const storage = new KeptStorage(new MemoryStorage());
  const create = { storage, size: size + count * apart, clusterSize, codecs: ENGINE_CODECS };
  await using image = await Qcow2Image.create(create);
  const bytes = content({ kind: "random", length: size, seed: 5, offset: 0 });
  for (let index = 0; index < count; index++) {
    const offset = index * clusterSize;
    // Shrinks to somewhat more than half, so that no two lie in one host cluster.
    bytes.fill(0, offset + (clusterSize * 5) / 8, offset + clusterSize);
    await image.writeCompressed({ offset, from: bytes.subarray(offset, offset + clusterSize) });
    await image.write({ offset: size + index * apart, from: new Uint8Array(apart).fill(1) });
  }
  await image.close();
  const reads = new MostReads(storage);
  const batches: number[] = [];
  await using again = await Qcow2Image.open({ storage: reads, codecs: countingBatches(batches) });
  const into = new Uint8Array(size);
  await again.read({ offset: 0, into });
  expectBytes(into, bytes);
  expect(batches.length).toBeGreaterThan(1);
  expect(reads.most).toBeGreaterThan(1);
  expect(reads.most).toBeLessThanOrEqual(16);
});

it("is one extent of the map for clusters side by side", async () => {
  const { storage } = await write(SCATTERED);
  await using image = await Qcow2Image.open({ storage, codecs: ENGINE_CODECS });
  const extents: Extent[] = [];
  for await (const extent of image.map()) extents.push(extent);
  expect(extents).toEqual([
    {
      offset: 0,
      length: SIZE,
      kind: "data",
      present: true,
      stored: true,
      depth: 0,
      hostOffset: undefined,
      compressed: true,
    },
  ]);
});

describe("a codec that has no memory", () => {
  const outOfMemory = new Qcow2Error("out-of-memory", "no memory", { operation: "decompress" });
  const fail = (): never => {
    throw outOfMemory;
  };

  interface Failing {
    readonly decompress: () => never;
    readonly decompressAll?: () => Promise<never>;
  }
  const failing: readonly (readonly [string, Failing])[] = [
    ["a cluster", { decompress: fail }],
    ["many clusters", { decompress: fail, decompressAll: async () => fail() }],
    [
      "many clusters, and then one",
      { decompress: fail, decompressAll: () => Promise.reject(new Error("no")) },
    ],
  ];

  it.each(failing)(
    "for %s says so: the data is not called damaged, and is read once there is some",
    async (_name, codec) => {
      const { storage, bytes } = await write(SCATTERED);
      let lacksMemory = true;
      const zlib = ENGINE_CODECS.zlib as ClusterCodec;
      const codecs: Codecs = {
        zlib: {
          decompress: (...args) => (lacksMemory ? codec.decompress() : zlib.decompress(...args)),
          decompressAll: async (...args) => {
            if (lacksMemory) await codec.decompressAll?.();
            await zlib.decompressAll?.(...args);
          },
        },
      };
      await using image = await Qcow2Image.open({ storage, codecs });
      const into = new Uint8Array("decompressAll" in codec ? SIZE : CLUSTER);
      await expect(image.read({ offset: 0, into })).rejects.toBe(outOfMemory);
      lacksMemory = false;
      await image.read({ offset: 0, into });
      expectBytes(into, bytes.subarray(0, into.length));
    },
  );
});
