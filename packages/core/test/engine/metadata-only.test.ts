/** Images that were opened for their metadata alone: their other files are not touched, and nothing else instead. */
import { isQcow2Error, MemoryStorage, Qcow2Image } from "@qcow2/core";
import { KeptStorage } from "@qcow2/testing";
import { expect, it } from "vitest";

const CLUSTER = 65536;
const SIZE: number = 8 * CLUSTER;

async function withDataFile(): Promise<{ kept: MemoryStorage; data: MemoryStorage }> {
  const [kept, data] = [new MemoryStorage(), new MemoryStorage()];
  const image = await Qcow2Image.create({
    storage: new KeptStorage(kept),
    size: SIZE,
    dataFile: { name: "data", storage: new KeptStorage(data) },
  });
  await image.write({ offset: 0, from: new Uint8Array(2 * CLUSTER).fill(7) });
  await image.close();
  return { kept, data };
}

const CHANGES: readonly (readonly [string, (image: Qcow2Image) => Promise<unknown>])[] = [
  ["makeEmpty", (image) => image.makeEmpty()],
  ["resize to less", (image) => image.resize({ size: CLUSTER, shrink: true })],
  ["resize to more", (image) => image.resize({ size: 2 * SIZE, preallocation: "full" })],
  ["amend", (image) => image.amend({ lazyRefcounts: true, refcountBits: 32, dataFile: "other" })],
  ["amend with another size", (image) => image.amend({ size: 2 * SIZE })],
  ["setBackingFile", (image) => image.setBackingFile({ name: "base", format: "raw" })],
  ["changeBitmaps", (image) => image.changeBitmaps([{ kind: "add", name: "b" }])],
  ["createSnapshot", (image) => image.createSnapshot({ name: "s" })],
  ["write", (image) => image.write({ offset: 0, from: new Uint8Array(CLUSTER) })],
  ["writeZeroes", (image) => image.writeZeroes({ offset: 0, length: CLUSTER, unmap: true })],
  ["discard", (image) => image.discard({ offset: 0, length: CLUSTER })],
  ["flush", (image) => image.flush()],
  ["check", (image) => image.check()],
];

it.each(CHANGES)(
  "%s of an image with an external data file keeps what the guest has, or is refused",
  async (_name, change) => {
    for (const discard of ["ignore", "unmap"] as const) {
      const { kept, data } = await withDataFile();
      const before = data.toBytes();
      const storage = new KeptStorage(kept);
      const image = await Qcow2Image.open({ storage, metadataOnly: true, readOnly: false, discard });
      const error = await change(image).then(
        () => undefined,
        (reason: unknown) => reason,
      );
      if (error !== undefined) expect(isQcow2Error(error, "unsupported")).toBe(true);
      await image.close();
      expect(Buffer.compare(data.toBytes(), before)).toBe(0);
      const reopened = await Qcow2Image.open({
        storage: kept,
        backing: "none",
        references: {
          openBackingFile: () => expect.fail("no backing file"),
          openDataFile: async () => data,
        },
      });
      const into = new Uint8Array(2 * CLUSTER);
      await reopened.read({ offset: 0, into });
      expect(new Set(into)).toEqual(new Set([7]));
      const { corruptions, leaks } = await reopened.check();
      expect([corruptions, leaks]).toEqual([0, 0]);
    }
  },
);
