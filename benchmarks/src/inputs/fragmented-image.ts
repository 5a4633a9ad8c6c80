/** The operating system's disk in an image whose clusters were written in random order: no two neighbours lie together. */
import { Qcow2Image } from "@qcow2/core";
import { FileStorage } from "@qcow2/node";
import { Random } from "../disk/random.ts";
import { CLUSTER_BYTES, openClusters, shuffle } from "./data-clusters.ts";
import type { InputKind } from "./input-kind.ts";

export const FRAGMENTED_IMAGE: InputKind = {
  name: "fragmented",
  title: () => "the operating system's disk as qcow2, its clusters written in random order",
  file: "fragmented.qcow2",
  format: "qcow2",
  content: "disk",
  needs: [],
  bytes: ({ diskData }) => diskData,
  make: async ({ path, paths, seed, img }) => {
    await using disk = await openClusters(paths.disk);
    const image = await Qcow2Image.create({
      storage: await FileStorage.open(path, { create: true, exclusive: true }),
      size: disk.size,
      clusterSize: CLUSTER_BYTES,
    });
    try {
      for (const index of shuffle(await disk.dataClusters(), new Random(seed, "fragmented"))) {
        await image.write({ offset: index * CLUSTER_BYTES, from: await disk.read(index) });
      }
    } finally {
      await image.close();
    }
    // Results are compared with the disk later: an input that differs must not pass for a wrong result.
    await img(["compare", "-q", "-f", "raw", "-F", "qcow2", paths.disk, path]);
  },
};
