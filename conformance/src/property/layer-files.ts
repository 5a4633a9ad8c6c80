/** Names of the files of a drawn chain, and the options in QEMU's words. */
import { join } from "node:path";
import type { DrawnChain, DrawnLayer, DrawnQcow2Layer } from "@qcow2/testing";
import { layersOf } from "@qcow2/testing";

/** The image that the case is about, and its layers below, in one folder; relative names. */
export function layerName(chain: DrawnChain, layer: DrawnLayer): string {
  const index = layersOf(chain).indexOf(layer);
  return `layer${index}.${layer.format}`;
}

export function topName(chain: DrawnChain): string {
  return layerName(chain, chain.top);
}

/** An absolute name: relative ones are relative to the working directory, in QEMU as with us. */
export function dataFileName(folder: string, imageName: string): string {
  return join(folder, `${imageName}.data`);
}

/** The layer that is the backing file of `layer`. */
export function layerBelow(chain: DrawnChain, layer: DrawnLayer): DrawnLayer | undefined {
  const layers = layersOf(chain);
  return layers[layers.indexOf(layer) - 1];
}

/** The value of `qemu-img create -o`. */
export function createOptionsOf(layer: DrawnQcow2Layer, folder: string, imageName: string): string {
  const { version, clusterSize, refcountBits, lazyRefcounts, extendedL2, compressionType, preallocation } =
    layer.options;
  const words: Record<string, string | number | undefined> = {
    compat: version === undefined ? undefined : version === 2 ? "0.10" : "1.1",
    cluster_size: clusterSize,
    refcount_bits: refcountBits,
    lazy_refcounts: lazyRefcounts === undefined ? undefined : lazyRefcounts ? "on" : "off",
    extended_l2: extendedL2 === undefined ? undefined : extendedL2 ? "on" : "off",
    compression_type: compressionType,
    preallocation,
    data_file: layer.dataFile === "none" ? undefined : dataFileName(folder, imageName),
    data_file_raw: layer.dataFile === "raw" ? "on" : undefined,
  };
  return Object.entries(words)
    .filter(([, value]) => value !== undefined)
    .map(([key, value]) => `${key}=${value}`)
    .join(",");
}
