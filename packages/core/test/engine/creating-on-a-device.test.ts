import { MemoryStorage, Qcow2Image } from "@qcow2/core";
import { describe, expect, it } from "vitest";

const DEVICE_BYTES = 4 * 2 ** 20;
const SIZE = 2 ** 20;

/** Has a size that does not change and content that nobody asked for, as a block device has. */
async function device({ punches }: { readonly punches: boolean }): Promise<MemoryStorage> {
  const storage = new MemoryStorage();
  await storage.write(0, new Uint8Array(DEVICE_BYTES).fill(0xee));
  return new Proxy(storage, {
    get: (target, key) => {
      if (key === "truncate") return async () => undefined;
      if (key === "allocate" || (key === "punchHole" && !punches)) return undefined;
      const value: unknown = Reflect.get(target, key, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

async function expectZeroes(image: Qcow2Image): Promise<void> {
  const content = new Uint8Array(SIZE).fill(1);
  await image.read({ offset: 0, into: content });
  expect(content.findIndex((byte) => byte !== 0)).toBe(-1);
}

describe.each([{ punches: true }, { punches: false }])("a new image on a device (%j)", (kind) => {
  it.each(["off", "metadata", "falloc", "full"] as const)(
    "shows nothing of what the device held (preallocation %s)",
    async (preallocation) => {
      for (const extendedL2 of [false, true]) {
        const storage = await device(kind);
        await using image = await Qcow2Image.create({ storage, size: SIZE, preallocation, extendedL2 });
        await expectZeroes(image);
      }
    },
  );

  it.each(["metadata", "falloc", "full"] as const)(
    "nor of what the device with its data held (preallocation %s)",
    async (preallocation) => {
      for (const raw of [false, true]) {
        const [storage, data] = [new MemoryStorage(), await device(kind)];
        const dataFile = { name: "data", storage: data, raw };
        await using image = await Qcow2Image.create({ storage, size: SIZE, preallocation, dataFile });
        await expectZeroes(image);
      }
    },
  );

  it("which, if it is to be read by itself, holds zeroes with every preallocation", async () => {
    const [storage, data] = [new MemoryStorage(), await device(kind)];
    const dataFile = { name: "data", storage: data, raw: true };
    await using _image = await Qcow2Image.create({ storage, size: SIZE, dataFile });
    const content = new Uint8Array(SIZE);
    await data.read(0, content);
    expect(content.findIndex((byte) => byte !== 0)).toBe(-1);
  });
});
