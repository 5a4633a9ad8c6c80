/** The operating system's disk, spread over an image and ten overlays, one on the other. */
import { dirname, join } from "node:path";
import { Qcow2Image } from "@qcow2/core";
import { FileStorage, fileReferences } from "@qcow2/node";
import { Random } from "../disk/random.ts";
import { CLUSTER_BYTES, type ClusterReader, openClusters } from "./data-clusters.ts";
import type { InputKind } from "./input-kind.ts";

export const OVERLAYS = 10;

export const OVERLAY_CHAIN: InputKind = {
  name: "overlays",
  title: () => `the operating system's disk, spread over a chain of ${OVERLAYS} overlays`,
  file: "overlays.qcow2",
  format: "qcow2",
  content: "disk",
  needs: [],
  // What overlays replaced comes on top.
  bytes: ({ diskData }) => diskData * 1.5,
  make: async ({ path, paths, seed, img }) => {
    await using disk = await openClusters(paths.disk);
    const random = new Random(seed, "overlays");
    const plan = (await disk.dataClusters()).map((index) => ({ index, layer: random.below(OVERLAYS + 1) }));
    for (let layer = 0; layer <= OVERLAYS; layer++) {
      const own = plan.filter((cluster) => cluster.layer === layer);
      // Half of what overlays hold had other content below.
      const replaced =
        layer === 0 ? plan.filter((cluster) => cluster.layer > 0 && random.below(2) === 0) : [];
      const layerPath = layer === OVERLAYS ? path : join(dirname(path), `layer-${layer}.qcow2`);
      await makeLayer({ path: layerPath, layer, disk, random, own, replaced });
    }
    await img(["compare", "-q", "-f", "raw", "-F", "qcow2", paths.disk, path]);
  },
};

interface PlannedCluster {
  readonly index: number;
}

async function makeLayer(options: {
  readonly path: string;
  /** 0 for the image at the bottom. */
  readonly layer: number;
  readonly disk: ClusterReader;
  readonly random: Random;
  /** Clusters that read as the disk. */
  readonly own: readonly PlannedCluster[];
  /** Clusters that get noise. */
  readonly replaced: readonly PlannedCluster[];
}): Promise<void> {
  const { path, layer, disk, random } = options;
  const image = await Qcow2Image.create({
    storage: await FileStorage.open(path, { create: true, exclusive: true }),
    size: disk.size,
    clusterSize: CLUSTER_BYTES,
    references: fileReferences({ follow: "same-directory" }),
    ...(layer === 0 ? {} : { backingFile: { name: `layer-${layer - 1}.qcow2`, format: "qcow2" } }),
  });
  try {
    for (const { index } of options.own) {
      await image.write({ offset: index * CLUSTER_BYTES, from: await disk.read(index) });
    }
    for (const { index } of options.replaced) {
      const offset = index * CLUSTER_BYTES;
      const noise = new Uint8Array(Math.min(CLUSTER_BYTES, disk.size - offset));
      random.fill(noise);
      await image.write({ offset, from: noise });
    }
  } finally {
    await image.close();
  }
}
