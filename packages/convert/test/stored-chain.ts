/** Drawn backing chains as real images in memory, and storages that outlive the disks that close them. */
import { deflateRawSync, inflateRawSync } from "node:zlib";
import { type Codecs, type Disk, Qcow2Image, RawDisk, type References } from "@qcow2/core";
import {
  CopyingStorage,
  contentOf,
  type DrawnChain,
  type DrawnLayer,
  type HostCopies,
  layersOf,
} from "@qcow2/testing";

export const codecs: Codecs = {
  zlib: {
    decompress: (input, length) => inflateRawSync(input, { maxOutputLength: length }),
    // It takes several turns, more for some clusters than for others: as a pool of threads would.
    compress: async (input) => {
      for (let turns = (input[0] ?? 0) % 5; turns > 0; turns--) await Promise.resolve();
      return deflateRawSync(input, { windowBits: 12, level: 1 });
    },
  },
};

/** Stays open when a disk closes it, so that it can be opened again. */
export class ReusableStorage extends CopyingStorage {
  constructor(options: { readonly hostCopies?: HostCopies; readonly bytes?: Uint8Array } = {}) {
    super({ hostCopies: "nothing", ...options });
  }

  override async close(): Promise<void> {}
}

interface StoredLayer {
  readonly layer: DrawnLayer;
  readonly storage: ReusableStorage;
  readonly dataStorage: ReusableStorage;
}

export class StoredChain {
  readonly #layers: StoredLayer[] = [];

  static async build(chain: DrawnChain): Promise<StoredChain> {
    const stored = new StoredChain();
    for (const layer of layersOf(chain)) await stored.#add(layer);
    return stored;
  }

  /**
   * The top disk, or the one `depth` layers below it; undefined if there is none. `writable` are the depths of those that
   * are opened for writing.
   */
  async open(depth = 0, writable: readonly number[] = []): Promise<Disk | undefined> {
    const index = this.#layers.length - 1 - depth;
    const indexes = new Set(writable.map((layer) => this.#layers.length - 1 - layer));
    return index < 0 ? undefined : await this.#openLayer(index, indexes);
  }

  /** The top disk over whatever `references` open. */
  async openTop(references: References): Promise<Qcow2Image> {
    const { storage } = this.#layers.at(-1)!;
    return await Qcow2Image.open({ storage, readOnly: true, codecs, references });
  }

  async #add(layer: DrawnLayer): Promise<void> {
    const index = this.#layers.length;
    const [storage, dataStorage] = [new ReusableStorage(), new ReusableStorage()];
    this.#layers.push({ layer, storage, dataStorage });
    if (layer.format === "raw") await storage.truncate(layer.size);
    const disk =
      layer.format === "raw"
        ? await RawDisk.open({ storage, size: layer.size })
        : await Qcow2Image.create({
            ...layer.options,
            storage,
            size: layer.size,
            codecs,
            references: this.#references(index),
            ...(index > 0
              ? { backingFile: { name: "below", format: this.#layers[index - 1]!.layer.format } }
              : {}),
            ...(layer.dataFile === "none"
              ? {}
              : { dataFile: { name: "data", storage: dataStorage, raw: layer.dataFile === "raw" } }),
          });
    for (const operation of layer.operations) {
      const { kind, offset, length } = operation;
      if (kind === "write") await disk.write({ offset, from: contentOf(operation) });
      else if (kind === "write-compressed" && disk instanceof Qcow2Image) {
        await writeClusters(disk, offset, contentOf(operation));
      } else await disk.writeZeroes({ offset, length, unmap: kind === "unmap" });
    }
    await disk.close();
  }

  #references(index: number, writable: ReadonlySet<number> = new Set()): References {
    return {
      openBackingFile: async () => await this.#openLayer(index - 1, writable),
      openDataFile: async () => this.#layers[index]!.dataStorage,
    };
  }

  async #openLayer(index: number, writable: ReadonlySet<number>): Promise<Disk> {
    const { layer, storage } = this.#layers[index]!;
    const readOnly = !writable.has(index);
    if (layer.format === "raw") return await RawDisk.open({ storage, readOnly });
    const references = this.#references(index, writable);
    return await Qcow2Image.open({ storage, readOnly, codecs, references });
  }
}

async function writeClusters(image: Qcow2Image, offset: number, bytes: Uint8Array): Promise<void> {
  const { clusterSize } = image.info();
  for (let start = 0; start < bytes.length; start += clusterSize) {
    await image.writeCompressed({ offset: offset + start, from: bytes.subarray(start, start + clusterSize) });
  }
}
