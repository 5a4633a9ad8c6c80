import { MemoryStorage, Qcow2Image, RawDisk } from "@qcow2/core";
import { KeptStorage, MemoryDisk } from "@qcow2/testing";
import { describeDisk } from "@qcow2/testing/suites";

describeDisk("RawDisk", async ({ size }) => {
  const storage = new KeptStorage(new MemoryStorage());
  return {
    disk: await RawDisk.open({ storage, size }),
    reopen: () => RawDisk.open({ storage, size }),
  };
});

describeDisk("MemoryDisk", async ({ size }) => {
  const disk = new MemoryDisk({ size, fill: 0 });
  return { disk, reopen: async () => disk };
});

for (const options of [
  {},
  { clusterSize: 512 },
  { clusterSize: 2 ** 21 },
  { version: 2 },
  { extendedL2: true },
] as const) {
  describeDisk(`Qcow2Image ${JSON.stringify(options)}`, async ({ size }) => {
    const storage = new KeptStorage(new MemoryStorage());
    return {
      disk: await Qcow2Image.create({ storage, size, ...options }),
      reopen: () => Qcow2Image.open({ storage }),
    };
  });
}
