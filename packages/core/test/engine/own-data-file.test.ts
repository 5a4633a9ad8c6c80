/** An image that is its own data file: guest data would be written over its tables. */
import { isQcow2Error, MemoryStorage, Qcow2Image } from "@qcow2/core";
import { KeptStorage } from "@qcow2/testing";
import { expect, it } from "vitest";

it("is not created", async () => {
  const storage = new MemoryStorage({ bytes: Uint8Array.of(1, 2, 3) });
  const dataFile = { name: "data", storage };
  await expect(Qcow2Image.create({ storage, size: 2 ** 20, dataFile })).rejects.toSatisfy((error) =>
    isQcow2Error(error, "invalid-option"),
  );
  expect(storage.toBytes()).toEqual(Uint8Array.of(1, 2, 3));
});

it("is not opened", async () => {
  const file = new MemoryStorage();
  const storage = new KeptStorage(file);
  const dataFile = { name: "data", storage: new MemoryStorage() };
  await (await Qcow2Image.create({ storage, size: 2 ** 20, dataFile })).close();
  const references = {
    openDataFile: async () => storage,
    openBackingFile: () => expect.fail("there is none"),
  };
  await expect(Qcow2Image.open({ storage, references })).rejects.toSatisfy((error) =>
    isQcow2Error(error, "invalid-image"),
  );
});
