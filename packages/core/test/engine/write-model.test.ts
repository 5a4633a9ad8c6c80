/**
 * Any sequence of writes, on any image shape, over any backing chain: the disk reads like the model, and the check
 * finds nothing. Everything is in memory; the conformance suite does the same beside real QEMU.
 */
import { deflateRawSync, inflateRawSync } from "node:zlib";
import { type Codecs, type Disk, MemoryStorage, Qcow2Image, RawDisk, type References } from "@qcow2/core";
import {
  chainArbitrary,
  contentOf,
  type DiskModel,
  type DrawnLayer,
  type DrawnOperation,
  expectSameContent,
  layersOf,
  modelOf,
} from "@qcow2/testing";
import fc from "fast-check";
import { expect, it } from "vitest";

const codecs: Codecs = {
  zlib: {
    decompress: (input, length) => inflateRawSync(input, { maxOutputLength: length }),
    compress: (input) => deflateRawSync(input, { windowBits: 12, level: 1 }),
  },
};

interface StoredLayer {
  readonly layer: DrawnLayer;
  readonly storage: MemoryStorage;
  readonly dataStorage: MemoryStorage | undefined;
}

/** Opens a layer over the ones below it, which have to be closed with it: each disk gets its own view of a storage. */
async function openLayer(
  layers: readonly StoredLayer[],
  index: number,
  readOnly: boolean,
  cacheBytes?: number,
): Promise<Disk> {
  const { layer, storage, dataStorage } = layers[index] as StoredLayer;
  if (layer.format === "raw") return RawDisk.open({ storage: keepOpen(storage), readOnly });
  const references: References = {
    openBackingFile: () => openLayer(layers, index - 1, true),
    openDataFile: async () => keepOpen(dataStorage as MemoryStorage),
  };
  return Qcow2Image.open({
    storage: keepOpen(storage),
    readOnly,
    references,
    codecs,
    l2CacheBytes: cacheBytes,
    refcountCacheBytes: cacheBytes,
  });
}

/** A storage that survives the disk that closes it. */
function keepOpen(storage: MemoryStorage): MemoryStorage {
  return new Proxy(storage, {
    get: (target, property) => {
      if (property === "close") return async () => undefined;
      const value = Reflect.get(target, property, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

async function apply(image: Qcow2Image, operation: DrawnOperation): Promise<void> {
  const { offset, length } = operation;
  switch (operation.kind) {
    case "write":
      return image.write({ offset, from: contentOf(operation) });
    case "write-zeroes":
      return image.writeZeroes({ offset, length });
    case "unmap":
      return image.writeZeroes({ offset, length, unmap: true });
    case "write-compressed":
      return writeCompressed(image, offset, contentOf(operation));
    default:
      throw new Error(`not drawn here: ${operation.kind}`);
  }
}

/** All clusters at once, as convert does. */
async function writeCompressed(image: Qcow2Image, offset: number, from: Uint8Array): Promise<void> {
  const { clusterSize } = image.info();
  const writes: Promise<void>[] = [];
  for (let at = 0; at < from.length; at += clusterSize) {
    writes.push(image.writeCompressed({ offset: offset + at, from: from.subarray(at, at + clusterSize) }));
  }
  await Promise.all(writes);
}

async function buildLayer(layers: StoredLayer[], layer: DrawnLayer, index: number): Promise<void> {
  const storage = new MemoryStorage({ name: `layer ${index}` });
  if (layer.format === "raw") {
    await storage.truncate(layer.size);
    layers.push({ layer, storage, dataStorage: undefined });
    for (const operation of layer.operations) await storage.write(operation.offset, contentOf(operation));
    return;
  }
  const dataStorage = layer.dataFile === "none" ? undefined : new MemoryStorage({ name: `data ${index}` });
  layers.push({ layer, storage, dataStorage });
  const image = await Qcow2Image.create({
    ...layer.options,
    size: layer.size,
    storage: keepOpen(storage),
    codecs,
    ...(dataStorage && {
      dataFile: { name: "data", storage: keepOpen(dataStorage), raw: layer.dataFile === "raw" },
    }),
    ...(index > 0 && { backingFile: { name: "below", format: layers[index - 1]?.layer.format } }),
    references: { openBackingFile: () => openLayer(layers, index - 1, true), openDataFile: neverOpened },
  });
  await image.close();
}

async function neverOpened(): Promise<never> {
  throw new Error("the data file was given");
}

async function writeLayer(layers: readonly StoredLayer[], index: number, cacheBytes: number): Promise<void> {
  const { layer } = layers[index] as StoredLayer;
  if (layer.format === "raw") return;
  // Half the operations, then the rest after reopening: what was written has to be all there is.
  const half = Math.ceil(layer.operations.length / 2);
  for (const operations of [layer.operations.slice(0, half), layer.operations.slice(half)]) {
    const image = (await openLayer(layers, index, false, cacheBytes)) as Qcow2Image;
    for (const operation of operations) await apply(image, operation);
    await image.close();
  }
}

async function expectIntact(disk: Disk, model: DiskModel): Promise<void> {
  await expectSameContent(disk, model);
  if (!(disk instanceof Qcow2Image)) return;
  const findings: string[] = [];
  const { corruptions, leaks, checkErrors } = await disk.check({
    onFinding: (finding) => findings.push(finding.message),
  });
  expect({ corruptions, leaks, checkErrors, findings }).toEqual({
    corruptions: 0,
    leaks: 0,
    checkErrors: 0,
    findings: [],
  });
  let mapped = 0;
  for await (const extent of disk.map()) {
    expect(extent.offset).toBe(mapped);
    mapped += extent.length;
    if (extent.kind === "zero") await expectZeroes(model, extent.offset, extent.length);
  }
  expect(mapped).toBe(disk.size);
}

async function expectZeroes(model: DiskModel, offset: number, length: number): Promise<void> {
  const bytes = await model.read(offset, length);
  expect(Buffer.from(bytes.buffer).equals(Buffer.alloc(length)), `zeroes at ${offset}+${length}`).toBe(true);
}

it("reads like the model after any sequence of writes, and the check finds nothing", {
  timeout: 120_000,
}, async () => {
  const cacheBytes = fc.constantFrom(1, 8192, 2 ** 20);
  await fc.assert(
    fc.asyncProperty(chainArbitrary({ compressionTypes: ["zlib"] }), cacheBytes, async (chain, cache) => {
      const layers: StoredLayer[] = [];
      let model: DiskModel | undefined;
      for (const [index, layer] of layersOf(chain).entries()) {
        await buildLayer(layers, layer, index);
        await writeLayer(layers, index, cache);
        model = await modelOf(layer, model);
        const disk = await openLayer(layers, index, true);
        await expectIntact(disk, model);
        await disk.close();
      }
    }),
    { numRuns: 60 },
  );
});
