/** What goes through a whole disk: measuring, comparing and converting, of `@qcow2/convert`. */
import { compareDisks, convertDisk, measureImage } from "@qcow2/convert";
import { MemoryStorage, Qcow2Image, RawDisk } from "@qcow2/core";
import { ENGINE_CODECS } from "@qcow2/testing";
import type { DiskLook } from "@qcow2/testing/fuzz";

export const DISK_LOOKS: readonly DiskLook[] = [
  {
    name: "measure",
    passes: 1,
    run: async (image) => {
      await measureImage({ source: image, targetFormat: "qcow2" });
    },
  },
  {
    name: "compare",
    passes: 4,
    run: async (image) => {
      await compareDisks({ first: image, second: image });
    },
  },
  {
    name: "convert to raw",
    passes: 4,
    run: async (image) => {
      const storage = new MemoryStorage();
      await storage.truncate(image.size);
      const target = await RawDisk.open({ storage });
      await convertDisk({ source: image, target, targetIsZero: true });
      await target.close();
    },
  },
  {
    name: "convert to qcow2",
    passes: 6,
    run: async (image) => {
      const storage = new MemoryStorage();
      const target = await Qcow2Image.create({
        storage,
        size: image.size,
        clusterSize: 4096,
        codecs: ENGINE_CODECS,
      });
      await convertDisk({ source: image, target, targetIsZero: true, salvage: true, compress: true });
      await target.close();
    },
  },
];
