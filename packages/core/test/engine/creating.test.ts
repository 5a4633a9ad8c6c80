/** What creating an image promises beside the image: nothing is touched in vain. */
import { isQcow2Error, MemoryStorage, Qcow2Image, RawDisk } from "@qcow2/core";
import { WrappedStorage } from "@qcow2/testing";
import { expect, it } from "vitest";

const backingFile = { name: "backing.raw", format: "raw" };

it("leaves the storage as it is if the backing file cannot be opened", async () => {
  const storage = new MemoryStorage({ bytes: Uint8Array.of(1, 2, 3) });
  const creating = Qcow2Image.create({ storage, size: 1 << 20, backingFile });
  await expect(creating).rejects.toSatisfy((error) => isQcow2Error(error, "reference-denied"));
  const into = new Uint8Array(4);
  expect(await storage.read(0, into)).toBe(3);
  expect([...into]).toEqual([1, 2, 3, 0]);
});

it("opens no backing file if the options are wrong, and closes it if the storage fails", async () => {
  let opened = 0;
  let closed = 0;
  class BackingStorage extends WrappedStorage {
    override async close(): Promise<void> {
      closed++;
    }
  }
  const references = {
    openBackingFile: async () => {
      opened++;
      return await RawDisk.open({ storage: new BackingStorage(new MemoryStorage()) });
    },
    openDataFile: async () => new MemoryStorage(),
  };
  const storage = new MemoryStorage();
  const wrong = Qcow2Image.create({ storage, size: 1 << 20, clusterSize: 1000, backingFile, references });
  await expect(wrong).rejects.toSatisfy((error) => isQcow2Error(error, "invalid-option"));
  expect(opened).toBe(0);
  const failing = Qcow2Image.create({
    storage: new MemoryStorage({ readOnly: true }),
    size: 1 << 20,
    backingFile,
    references,
  });
  await expect(failing).rejects.toSatisfy((error) => isQcow2Error(error, "read-only"));
  expect([opened, closed]).toEqual([1, 1]);
});

it("opens the metadata of an image that needs repair, although its storage could be written", async () => {
  const storage = new MemoryStorage();
  const image = await Qcow2Image.create({ storage: new Kept(storage), size: 1 << 20 });
  await image.close();
  await storage.write(79, Uint8Array.of(1));
  const opened = await Qcow2Image.open({ storage, metadataOnly: true });
  expect(opened.info().dirty).toBe(true);
  expect(opened.readOnly).toBe(true);
});

class Kept extends WrappedStorage {
  override async close(): Promise<void> {}
}
