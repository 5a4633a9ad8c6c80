import { MemoryStorage, Qcow2Image } from "@qcow2/core";
import { expect, it } from "vitest";

it("gives its bytes back after the image that closed it, and another storage goes on from them", async () => {
  const storage = new MemoryStorage();
  const image = await Qcow2Image.create({ storage, size: 2 ** 20 });
  await image.write({ offset: 70_000, from: new Uint8Array([1, 2, 3]) });
  await image.close();
  await using reopened = await Qcow2Image.open({ storage: new MemoryStorage({ bytes: storage.toBytes() }) });
  const into = new Uint8Array(5);
  await reopened.read({ offset: 69_999, into });
  expect(Array.from(into)).toEqual([0, 1, 2, 3, 0]);
});

it("copies exactly its size, holes and the part of a last page included", async () => {
  const storage = new MemoryStorage();
  await storage.write(200_000, new Uint8Array([9]));
  await storage.truncate(200_002);
  const bytes = storage.toBytes();
  expect(bytes.length).toBe(200_002);
  expect(bytes.findIndex((byte) => byte !== 0)).toBe(200_000);
});
