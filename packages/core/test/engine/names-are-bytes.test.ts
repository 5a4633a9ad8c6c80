/** Names that are no UTF-8, or begin with U+FEFF, are stored as the bytes that they are, and come back as they were. */
import {
  type BackingReference,
  type DataFileReference,
  encodeText,
  isQcow2Error,
  MemoryStorage,
  Qcow2Image,
  RawDisk,
  type References,
  readBackingName,
} from "@qcow2/core";
import { expect, it } from "vitest";

// As bytes: ff, fe, ef bb bf, half of a character, and what stands for all of them where bytes are replaced.
const NAMES = ["a\udcff", "a\udcfe", "\ufeffa", "a\udce2\udc82", "a\ufffd"];
const SIZE = 65_536;

class Asked implements References {
  readonly names: string[] = [];

  async openBackingFile({ name }: BackingReference): Promise<RawDisk> {
    this.names.push(name);
    return await RawDisk.open({ storage: new MemoryStorage({ bytes: new Uint8Array(SIZE) }) });
  }

  async openDataFile({ name }: DataFileReference): Promise<MemoryStorage> {
    this.names.push(name);
    return new MemoryStorage({ bytes: new Uint8Array(SIZE) });
  }
}

const holds = (storage: MemoryStorage, name: string): boolean =>
  Buffer.from(storage.toBytes()).includes(Buffer.from(encodeText(name)));

/** The same bytes: closing an image closes its storage. */
const again = (storage: MemoryStorage): MemoryStorage => new MemoryStorage({ bytes: storage.toBytes() });

it.each(NAMES)(
  "the backing file %j, as an image is made, changed and changed beside its name",
  async (name) => {
    const references = new Asked();
    const made = new MemoryStorage();
    await (
      await Qcow2Image.create({ storage: made, size: SIZE, references, backingFile: { name, format: "raw" } })
    ).close();
    const changed = new MemoryStorage();
    {
      await using image = await Qcow2Image.create({ storage: changed, size: SIZE, references });
      await image.setBackingFile({ name, format: "raw" });
      await image.createSnapshot({ name: "the header is written anew" });
    }
    for (const storage of [made, changed]) {
      references.names.length = 0;
      expect(await readBackingName(again(storage))).toBe(name);
      expect(holds(storage, name)).toBe(true);
      await using image = await Qcow2Image.open({ storage: again(storage), readOnly: true, references });
      expect(image.info().backingFile).toBe(name);
      expect(references.names).toEqual([name]);
    }
  },
);

it.each(NAMES)("the data file %j", async (name) => {
  const references = new Asked();
  const storage = new MemoryStorage();
  const dataFile = { name, storage: new MemoryStorage() };
  await (await Qcow2Image.create({ storage, size: SIZE, references, dataFile })).close();
  await (await Qcow2Image.open({ storage: again(storage), readOnly: true, references })).close();
  expect(references.names).toEqual([name]);
  expect(holds(storage, name)).toBe(true);
});

it("snapshots and bitmaps whose names differ in such bytes alone are told apart", async () => {
  const storage = new MemoryStorage();
  {
    await using image = await Qcow2Image.create({ storage, size: SIZE });
    for (const [index, name] of NAMES.entries()) {
      await image.write({ offset: 0, from: new Uint8Array(512).fill(index + 1) });
      await image.createSnapshot({ name });
    }
    await image.changeBitmaps(NAMES.map((name) => ({ kind: "add", name })));
  }
  await using image = await Qcow2Image.open({ storage: again(storage) });
  expect(image.info().bitmaps.map(({ name }) => name)).toEqual(NAMES);
  expect(image.info().snapshots.map(({ name }) => name)).toEqual(NAMES);
  const sector = new Uint8Array(512);
  for (const [index, snapshot] of NAMES.entries()) {
    await using disk = await Qcow2Image.open({ storage: again(storage), readOnly: true, snapshot });
    await disk.read({ offset: 0, into: sector });
    expect(sector[0]).toBe(index + 1);
  }
  await image.changeBitmaps([{ kind: "remove", name: "a\udcfe" }]);
  await image.deleteSnapshot("a\udcfe");
  const left = NAMES.filter((name) => name !== "a\udcfe");
  expect(image.info().bitmaps.map(({ name }) => name)).toEqual(left);
  expect(image.info().snapshots.map(({ name }) => name)).toEqual(left);
});

it("what no bytes mean is refused, and nothing is changed", async () => {
  const storage = new MemoryStorage();
  await using image = await Qcow2Image.create({ storage, size: SIZE });
  const name = "half \ud83d";
  const attempts = [
    () => image.createSnapshot({ name }),
    () => image.changeBitmaps([{ kind: "add", name }]),
    () => image.setBackingFile({ name, format: "raw" }),
    () =>
      Qcow2Image.create({ storage: new MemoryStorage(), size: SIZE, backingFile: { name, format: "raw" } }),
  ];
  for (const attempt of attempts) {
    const error: unknown = await attempt().catch((reason: unknown) => reason);
    expect(isQcow2Error(error, "invalid-option")).toBe(true);
  }
  expect(image.info()).toMatchObject({ snapshots: [], bitmaps: [], backingFile: undefined });
});
