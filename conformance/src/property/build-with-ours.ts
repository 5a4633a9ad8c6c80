import { join } from "node:path";
import { type Codecs, Qcow2Image, type WritableDisk } from "@qcow2/core";
import { FileStorage, fileReferences } from "@qcow2/node";
import {
  contentOf,
  type DiskModel,
  type DrawnChain,
  type DrawnOperation,
  type DrawnQcow2Layer,
  layersOf,
  modelOf,
} from "@qcow2/testing";
import { dataFileName, layerBelow, layerName } from "./layer-files.ts";
import { writeModelTo } from "./raw-file.ts";

/** Makes a drawn chain in `folder` with our library, and answers what it must read as. */
export async function buildWithOurs(chain: DrawnChain, folder: string, codecs: Codecs): Promise<DiskModel> {
  let model: DiskModel | undefined;
  for (const layer of layersOf(chain)) {
    const name = layerName(chain, layer);
    model = await modelOf(layer, model);
    if (layer.format === "raw") {
      await writeModelTo(join(folder, name), model, layer.size);
      continue;
    }
    const below = layerBelow(chain, layer);
    await buildLayer({
      layer,
      name,
      folder,
      codecs,
      backingFile: below === undefined ? undefined : { name: layerName(chain, below), format: below.format },
    });
  }
  if (model === undefined) throw new Error("a chain without layers");
  return model;
}

async function buildLayer(options: {
  readonly layer: DrawnQcow2Layer;
  readonly name: string;
  readonly folder: string;
  readonly codecs: Codecs;
  readonly backingFile: { readonly name: string; readonly format: string } | undefined;
}): Promise<void> {
  const { layer, name, folder, codecs, backingFile } = options;
  const open = async (file: string): Promise<FileStorage> => await FileStorage.open(file, { create: true });
  const dataName = dataFileName(folder, name);
  const image = await Qcow2Image.create({
    ...layer.options,
    storage: await open(join(folder, name)),
    size: layer.size,
    backingFile,
    references: fileReferences({ codecs }),
    codecs,
    dataFile:
      layer.dataFile === "none"
        ? undefined
        : { name: dataName, storage: await open(dataName), raw: layer.dataFile === "raw" },
  });
  try {
    for (const operation of layer.operations) await applyOperation(image, operation);
    await image.flush();
  } finally {
    await image.close();
  }
}

async function applyOperation(disk: WritableDisk, operation: DrawnOperation): Promise<void> {
  const { kind, offset, length } = operation;
  if (kind === "write") await disk.write({ offset, from: contentOf(operation) });
  else if (kind === "write-zeroes" || kind === "unmap") {
    await disk.writeZeroes({ offset, length, unmap: kind === "unmap" });
  } else if (kind === "write-compressed") await applyCompressed(disk, operation);
  else throw new Error(`our library has no '${kind}'`);
}

/** Compressed writes go cluster by cluster. */
async function applyCompressed(disk: WritableDisk, operation: DrawnOperation): Promise<void> {
  if (!(disk instanceof Qcow2Image) || disk.writeCompressed === undefined)
    throw new Error("no compressed writes");
  const { clusterSize } = disk.info();
  const bytes = contentOf(operation);
  for (let at = 0; at < bytes.length; at += clusterSize) {
    await disk.writeCompressed({ offset: operation.offset + at, from: bytes.subarray(at, at + clusterSize) });
  }
}
