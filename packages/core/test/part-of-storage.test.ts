import { isQcow2Error, MemoryStorage, PartOfStorage, Qcow2Image, RawDisk, type Storage } from "@qcow2/core";
import { content } from "@qcow2/testing";
import { describeStorage, expectBytes } from "@qcow2/testing/suites";
import { describe, expect, it } from "vitest";

describeStorage("PartOfStorage", async () => {
  const whole = new MemoryStorage();
  await whole.write(0, content({ kind: "random", seed: 9, length: 4096 }));
  return { storage: await PartOfStorage.open(whole, { offset: 4096 }) };
});

const random = content({ kind: "random", seed: 1, length: 10_000 });

async function wholeOf(bytes: Uint8Array): Promise<MemoryStorage> {
  const whole = new MemoryStorage();
  await whole.write(0, bytes);
  return whole;
}

async function codeOf(work: Promise<unknown>): Promise<string> {
  const error: unknown = await work.then(
    () => expect.fail("it did not fail"),
    (reason: unknown) => reason,
  );
  if (!isQcow2Error(error)) throw error;
  return error.code;
}

describe("a part of fixed length", () => {
  const part = async (whole: Storage) => await PartOfStorage.open(whole, { offset: 1000, length: 5000 });

  it("shows its bytes and no others", async () => {
    const storage = await part(await wholeOf(random));
    expect(await storage.size()).toBe(5000);
    const into = new Uint8Array(6000).fill(0xa5);
    expect(await storage.read(0, into)).toBe(5000);
    expectBytes(into.subarray(0, 5000), random.subarray(1000, 6000));
    expect(into[5000]).toBe(0xa5);
    expect(await storage.read(5000, into)).toBe(0);
  });

  it("leaves everything around it as it is", async () => {
    const whole = await wholeOf(random);
    const storage = await part(whole);
    await storage.write(4000, new Uint8Array(1000).fill(7));
    expect(await codeOf(storage.write(4001, new Uint8Array(1000)))).toBe("unsupported");
    expect(await codeOf(storage.truncate(4999))).toBe("unsupported");
    expect(await codeOf(storage.truncate(5001))).toBe("unsupported");
    await storage.truncate(5000);
    const expected = Uint8Array.from(random);
    expected.fill(7, 5000, 6000);
    expectBytes(whole.toBytes(), expected);
  });

  it("punches no hole into what lies behind it", async () => {
    const whole = await wholeOf(random);
    const storage = await part(whole);
    await storage.punchHole?.(4000, 3000);
    await storage.punchHole?.(5000, 100);
    const expected = Uint8Array.from(random);
    expected.fill(0, 5000, 6000);
    expectBytes(whole.toBytes(), expected);
  });

  it("has to lie within the whole", async () => {
    const whole = await wholeOf(random);
    expect(await codeOf(PartOfStorage.open(whole, { offset: 10_001 }))).toBe("out-of-range");
    expect(await codeOf(PartOfStorage.open(whole, { offset: 9000, length: 1001 }))).toBe("out-of-range");
    await expect(PartOfStorage.open(whole, { offset: -1 })).rejects.toThrow(RangeError);
    expect(await (await PartOfStorage.open(whole, { offset: 10_000 })).size()).toBe(0);
  });
});

it("a raw disk says where its bytes are in the whole, through parts of parts", async () => {
  const whole = await wholeOf(new Uint8Array(8192));
  const outer = await PartOfStorage.open(whole, { offset: 1024 });
  const inner = await PartOfStorage.open(outer, { offset: 512, length: 2048 });
  await using disk = await RawDisk.open({ storage: inner });
  const places: string[] = [];
  for await (const { offset, length, hostOffset } of disk.map()) {
    places.push(`${length} bytes at ${offset} in ${hostOffset}`);
  }
  expect(places).toEqual(["2048 bytes at 0 in 1536"]);
  await expect(disk.resize({ size: 4096 })).rejects.toThrow("fixed-size");
});

it("an image within a larger file can be used like any other", async () => {
  const whole = await wholeOf(random);
  const image = await Qcow2Image.create({
    storage: await PartOfStorage.open(whole, { offset: 10_000 }),
    size: 2 ** 20,
  });
  await image.write({ offset: 70_000, from: random });
  await image.close();
  const bytes = whole.toBytes();
  expectBytes(bytes.subarray(0, 10_000), random);
  const storage = await PartOfStorage.open(await wholeOf(bytes), { offset: 10_000 });
  await using reopened = await Qcow2Image.open({ storage });
  const into = new Uint8Array(random.length);
  await reopened.read({ offset: 70_000, into });
  expectBytes(into, random);
  expect(await reopened.check()).toMatchObject({ corruptions: 0, leaks: 0 });
});

it("rebuilds the refcounts of a dirty image in a part of fixed length within that part", async () => {
  const whole = new MemoryStorage({ bytes: new Uint8Array(40 * 4096) });
  const created = await Qcow2Image.create({ storage: whole, size: 2 ** 20, clusterSize: 4096 });
  await created.write({ offset: 70_000, from: random });
  await created.close();
  const bytes = new Uint8Array(1000 + 40 * 4096 + 1000).fill(0xa5);
  bytes.fill(0, 1000, 1000 + 40 * 4096);
  bytes.set(whole.toBytes(), 1000);
  // The dirty bit.
  bytes[1000 + 79] = 1;
  const around = await wholeOf(bytes);
  const part = await PartOfStorage.open(around, { offset: 1000, length: 40 * 4096 });
  expect(part.fixedSize).toBe(true);
  const image = await Qcow2Image.open({ storage: part, discard: "unmap" });
  const into = new Uint8Array(random.length);
  await image.read({ offset: 70_000, into });
  expectBytes(into, random);
  await image.discard({ offset: 0, length: 2 ** 20 });
  expect(await image.check()).toMatchObject({ corruptions: 0 });
  await image.close();
  expectBytes(around.toBytes().subarray(1000 + 40 * 4096), new Uint8Array(1000).fill(0xa5));
});
