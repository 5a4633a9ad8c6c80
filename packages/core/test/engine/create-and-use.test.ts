/** What `create` opened is used as any other open image: its references, and what a power cut may leave of it. */
import { MemoryStorage, Qcow2Image, RawDisk, type References } from "@qcow2/core";
import { KeptStorage, WrappedStorage } from "@qcow2/testing";
import { expect, it } from "vitest";

const SIZE = 65536;

function referencesTo(asked: string[]): References {
  return {
    openBackingFile: async ({ name }) => {
      asked.push(name);
      return await RawDisk.open({
        storage: new MemoryStorage({ name, bytes: new Uint8Array(SIZE).fill(name.charCodeAt(0)) }),
      });
    },
    openDataFile: async () => new MemoryStorage(),
  };
}

async function firstByte(image: Qcow2Image): Promise<number | undefined> {
  const into = new Uint8Array(1);
  await image.read({ offset: 0, into });
  return into[0];
}

it("asks the caller's policy for another backing file than the one it was created over", async () => {
  const asked: string[] = [];
  const image = await Qcow2Image.create({
    storage: new MemoryStorage(),
    size: SIZE,
    backingFile: { name: "a", format: "raw" },
    references: referencesTo(asked),
  });
  expect(await firstByte(image)).toBe("a".charCodeAt(0));
  await image.setBackingFile({ name: "b", format: "raw" });
  expect(await firstByte(image)).toBe("b".charCodeAt(0));
  await image.setBackingFile(undefined);
  expect(await firstByte(image)).toBe(0);
  await image.setBackingFile({ name: "a", format: "raw" });
  expect(await firstByte(image)).toBe("a".charCodeAt(0));
  expect(asked).toEqual(["a", "b", "a"]);
  await image.close();
});

/** Counts flushes. */
class CountingFlushes extends WrappedStorage {
  flushes = 0;

  override async flush(): Promise<void> {
    this.flushes++;
    await super.flush();
  }
}

it("orders nothing before the first flush, and everything after it", async () => {
  const storage = new CountingFlushes(new KeptStorage(new MemoryStorage()));
  const image = await Qcow2Image.create({ storage, size: 2 ** 30, clusterSize: 4096 });
  const write = (offset: number): Promise<void> =>
    image.write({ offset, from: new Uint8Array(4096).fill(1) });
  await write(0);
  await write(2 ** 21);
  await image.flush();
  // One for all, as whoever converts wants it.
  expect(storage.flushes).toBe(1);
  await write(2 ** 22);
  await image.flush();
  // Refcounts before tables, tables before the L1 table, and the end.
  expect(storage.flushes).toBeGreaterThanOrEqual(4);
  await image.close();
});
